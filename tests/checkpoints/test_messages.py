"""Messages of every era are read as messages."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from test_outline import stored

from checkpoints.messages import message, messages

CALL = {"name": "search", "args": {"q": "x"}, "id": "call-1", "type": "tool_call"}


@pytest.mark.parametrize(
    ("given", "role"),
    [
        (HumanMessage("hi"), "human"),
        (AIMessage("hi"), "ai"),
        (SystemMessage("hi"), "system"),
        (ToolMessage("hi", tool_call_id="1"), "tool"),
        (RemoveMessage(id="1"), "remove"),
        ({"role": "user", "content": "hi"}, "human"),
        (("user", "hi"), "human"),
        (
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain_core", "messages", "AIMessage"],
                "kwargs": {"content": "hi"},
            },
            "ai",
        ),
    ],
)
def test_each_kind_of_message_has_its_role(given: Any, role: str) -> None:
    found = message(stored(given))
    assert found is not None
    assert found.role == role
    assert found.text == ("" if role == "remove" else "hi")


def test_tool_calls_keep_their_arguments() -> None:
    found = message(
        stored(AIMessage("", tool_calls=[CALL], invalid_tool_calls=[{**CALL, "args": "{", "error": "bad"}]))
    )
    assert found is not None
    assert [(call.name, call.args, call.error) for call in found.tool_calls] == [
        ("search", {"q": "x"}, None),
        ("search", "{", "bad"),
    ]


def test_openai_tool_calls_are_read_too() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    found = message({"role": "assistant", "content": None, "tool_calls": [call]})
    assert found is not None
    assert [(one.name, one.args, one.id) for one in found.tool_calls] == [("search", "{}", "1")]


def test_content_blocks_are_split_into_text_and_the_rest() -> None:
    blocks = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": "data:"}, "this"]
    found = message(stored(HumanMessage(blocks)))
    assert found is not None
    assert found.text == "see\nthis"
    assert found.parts == (blocks[1],)


@pytest.mark.parametrize("value", [[], [1], "text", None, [HumanMessage("hi"), {"no": "message"}]])
def test_what_is_no_conversation_is_none(value: Any) -> None:
    assert messages(stored(value)) is None
