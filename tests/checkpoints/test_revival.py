"""Objects built by us beside those that LangGraph's serializer builds of the same bytes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel

from checkpoints.revival import BEGINNINGS, MODULES, loads_of

OFFICIAL = JsonPlusSerializer()
texts = st.text(max_size=20)
leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
plain = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(texts, plain, max_size=3)
blocks = st.lists(texts | st.fixed_dictionaries({"type": st.just("text"), "text": texts}), max_size=3)
calls = st.fixed_dictionaries({"name": texts, "args": mappings, "id": st.none() | texts})
usage = st.fixed_dictionaries(
    {k: st.integers(0, 9) for k in ("input_tokens", "output_tokens", "total_tokens")}
)
common: dict[str, Any] = {
    "content": texts | blocks,
    "id": st.none() | texts,
    "name": st.none() | texts,
    "additional_kwargs": mappings,
    "response_metadata": mappings,
}
messages = st.one_of(
    st.builds(HumanMessage, **common),
    st.builds(SystemMessage, **common),
    st.builds(AIMessage, **common, tool_calls=st.lists(calls, max_size=2), usage_metadata=st.none() | usage),
    st.builds(
        ToolMessage,
        **common,
        tool_call_id=texts,
        artifact=plain,
        status=st.sampled_from(["success", "error"]),
    ),
)


class Person(BaseModel):
    name: str


def same(ours: Any, theirs: Any) -> bool:
    """Whether two values are equal to the last attribute: `==` of messages does not look at all of them."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, BaseModel):
        return (
            same(ours.__dict__, theirs.__dict__)
            and ours.model_fields_set == theirs.model_fields_set
            and same(ours.__pydantic_extra__, theirs.__pydantic_extra__)
            and same(ours.__pydantic_private__, theirs.__pydantic_private__)
        )
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs) and repr(ours) == repr(theirs)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(messages | plain, max_size=4))
def test_messages_of_any_content_are_those_of_the_serializer(values: list[Any]) -> None:
    stored = OFFICIAL.dumps_typed({"messages": values, "last": values[-1:]})
    assert same(loads_of(OFFICIAL)(stored), OFFICIAL.loads_typed(stored))


ODD: dict[str, Any] = {
    "a chunk": AIMessageChunk("a", tool_call_chunks=[{"name": "a", "args": "{", "id": "1", "index": 0}]),
    "another kind of message": ChatMessage("a", role="b"),
    "a removal": RemoveMessage("a"),
    "a send with a message": Send("node", {"message": HumanMessage("a")}),
    "a command": Command(update={"messages": [AIMessage("a")]}, goto="b"),
    "an interrupt": Interrupt(value=HumanMessage("a"), id="1"),
    "a snapshot": _DeltaSnapshot([HumanMessage("a")]),
    "a document": Document("a", metadata={"message": HumanMessage("b")}),
    "a model of a user": Person(name="a"),
    "a message that holds objects": HumanMessage(
        "a", additional_kwargs={"at": datetime.now(UTC), "id": UUID(int=7)}
    ),
    "fields that nobody declared": HumanMessage("a", mood="good"),  # type: ignore[call-arg]
    "a set": {1, 2},
    "nothing": None,
    "bytes": b"a",
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_everything_else_is_what_the_serializer_makes_of_it(value: Any) -> None:
    stored = OFFICIAL.dumps_typed(value)
    assert same(loads_of(OFFICIAL)(stored), OFFICIAL.loads_typed(stored))


def packed(*parts: Any) -> tuple[str, bytes]:
    payload = ormsgpack.packb(list(parts), option=ormsgpack.OPT_NON_STR_KEYS)
    return "msgpack", ormsgpack.packb([ormsgpack.Ext(5, payload)])


AI = (MODULES["AIMessage"], "AIMessage")
BROKEN: dict[str, tuple[str, bytes]] = {
    "no content": packed(*AI, {"id": "1"}, None),
    "content that is no text": packed(*AI, {"content": 1}, None),
    "blocks in place of content": packed(
        *AI, {"content": "", "content_blocks": [{"type": "text", "text": "a"}]}, None
    ),
    "a field with the name of a parameter": packed(*AI, {"content": b"x", "self": 1}, None),
    "fields that are no map": packed(*AI, ["content"], None),
    "fields that are no names": packed(*AI, {1: 2}, None),
    "calls that are none": packed(*AI, {"content": "", "tool_calls": "a"}, None),
    "an entry too few": packed(*AI, {"content": ""}),
    "an entry too many": packed(*AI, {"content": ""}, None, 5),
    "a name that goes on": packed(AI[0], "AIMessageChunk", {"content": ""}, None),
    "a class of another module": packed(MODULES["HumanMessage"], "AIMessage", {"content": ""}, None),
    "cut off": ("msgpack", ormsgpack.packb([ormsgpack.Ext(5, BEGINNINGS[0])])),
}


@pytest.mark.parametrize("stored", BROKEN.values(), ids=BROKEN)
def test_damaged_messages_are_what_the_serializer_makes_of_them(stored: tuple[str, bytes]) -> None:
    assert same(loads_of(OFFICIAL)(stored), OFFICIAL.loads_typed(stored))


def test_every_load_builds_objects_of_its_own() -> None:
    stored = OFFICIAL.dumps_typed([AIMessage("a", additional_kwargs={"b": [1]})])
    loads = loads_of(OFFICIAL)
    first: list[AnyMessage] = loads(stored)
    first[0].additional_kwargs["b"].append(2)
    first[0].content = "changed"
    assert same(loads(stored), OFFICIAL.loads_typed(stored))


def test_the_messages_are_built_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the other tests would compare the serializer with itself."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError

    values = [HumanMessage("a"), AIMessage("b"), SystemMessage("c"), ToolMessage("d", tool_call_id="1")]
    stored = OFFICIAL.dumps_typed(values)
    serde = JsonPlusSerializer()
    monkeypatch.setattr(serde, "_unpack_ext_hook", refuse)
    assert loads_of(serde)(stored) == values


def test_a_class_that_is_not_imported_yet_is_imported_by_the_serializer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = OFFICIAL.dumps_typed(SystemMessage("a"))
    monkeypatch.delitem(sys.modules, MODULES["SystemMessage"])
    assert loads_of(OFFICIAL)(stored).content == "a"


def test_strict_mode_admits_messages_and_nothing_else() -> None:
    strict = JsonPlusSerializer(allowed_msgpack_modules=None)
    stored = OFFICIAL.dumps_typed([HumanMessage("a"), Person(name="b")])
    assert loads_of(strict)(stored) == [HumanMessage("a"), {"name": "b"}] == strict.loads_typed(stored)


class Louder(JsonPlusSerializer):
    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return "louder"


def test_a_serializer_with_ways_of_its_own_is_asked_itself() -> None:
    stored = OFFICIAL.dumps_typed(HumanMessage("a"))
    hooked = JsonPlusSerializer(__unpack_ext_hook__=lambda code, data: code)
    assert loads_of(Louder())(stored) == "louder"
    assert loads_of(hooked)(stored) == 5


def test_a_serializer_that_somebody_patched_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = OFFICIAL.dumps_typed(HumanMessage("a"))
    one = JsonPlusSerializer()
    monkeypatch.setattr(one, "loads_typed", lambda data: "this one")
    assert loads_of(one)(stored) == "this one"
    monkeypatch.setattr(JsonPlusSerializer, "loads_typed", lambda self, data: "all")
    assert loads_of(OFFICIAL)(stored) == "all"
