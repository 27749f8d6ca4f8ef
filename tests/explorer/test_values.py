"""Nothing of a value is left out without a way to it."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import create_model

from checkpoints.inert import InertSerializer
from checkpoints.outline import at_path
from explorer import addresses
from explorer.values import value_view

ADDRESS = partial(addresses.value, "store", "thread", "id", channel="messages")
LONG = "x" * 5_000


def stored(value: Any) -> Any:
    return InertSerializer().loads_typed(JsonPlusSerializer().dumps_typed(value))


def part(value: Any, href: str) -> Any:
    """Return the part of a value that a link leads to."""
    path = parse_qs(urlsplit(href).query)["path"][0]
    return at_path(value, tuple(map(int, path.split("."))))


def calling(**args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "write_file", "args": args, "id": "1"}])


def test_a_long_argument_of_a_tool_call_can_be_loaded() -> None:
    value = stored([HumanMessage("go"), calling(path="a.py", content=LONG)])
    lines = value_view(value, ADDRESS).cards[1].calls[0].lines
    assert [view.line.label for view in lines] == ["path", "content"]
    assert part(value, lines[1].href) == LONG


def test_many_arguments_of_a_tool_call_can_be_loaded() -> None:
    value = stored([calling(**{f"a{n}": n for n in range(90)})])
    last = value_view(value, ADDRESS).cards[0].calls[0].lines[-1]
    assert last.line.text == "50 more"
    assert len(part(value, last.href)) == 90


def test_a_long_message_can_be_loaded() -> None:
    value = stored([HumanMessage(LONG)])
    assert part(value, value_view(value, ADDRESS).cards[0].rest_href) == LONG


def test_arguments_in_another_shape_lead_to_what_there_is() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "search", "arguments": LONG}}
    value = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    [line] = value_view(value, ADDRESS).cards[0].calls[0].lines
    assert part(value, line.href) == call


def test_further_fields_of_a_message_are_there() -> None:
    value = stored([AIMessage("hi", response_metadata={"model_name": "m-1", "long": LONG})])
    others = value_view(value, ADDRESS).cards[0].others
    assert [view.line.label for view in others if view.line.label] == [
        "response_metadata",
        "model_name",
        "long",
    ]
    assert part(value, others[-2].href) == LONG


def test_a_value_of_another_class_named_message_keeps_its_fields() -> None:
    mail = create_model("EmailMessage", subject=(str, ...), body=(str, ...))
    view = value_view(stored([mail(subject="Hello", body="World")]), ADDRESS)
    assert not view.cards
    assert {"subject", "body"} <= {line.line.label for line in view.lines}


@pytest.mark.parametrize("count", [1, 20, 21, 130])
def test_every_message_of_a_conversation_can_be_reached(count: int) -> None:
    value = stored([HumanMessage(f"m{n}") for n in range(count)])
    seen = {card.text for card in value_view(value, ADDRESS).cards}
    start: int | None = 0
    while start is not None:
        view = value_view(value, ADDRESS, start=start)
        seen |= {card.text for card in view.cards}
        query = parse_qs(urlsplit(view.more_href).query)
        start = int(query["start"][0]) if view.more_href else None
    assert len(seen) == count
