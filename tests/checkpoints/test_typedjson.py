"""Stored values as JSON that keeps their types."""

from __future__ import annotations

import base64
import json
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Send
from test_outline import Order, Point, stored

from checkpoints.inert import InertSerializer
from checkpoints.inert.packing import encode
from checkpoints.typedjson import NotTypedJson, editable, jsonable, parse, written


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None, True, "x"]}, {"a": [1, None, True, "x"]}),
        (float("inf"), {"$type": "float", "value": "inf"}),
        (b"\x00", {"$type": "bytes", "base64": "AA=="}),
        ({1: "one"}, {"$type": "dict", "items": [[1, "one"]]}),
        ({"$type": "mine"}, {"$type": "dict", "items": [["$type", "mine"]]}),
        (Point(1, 2), {"$type": "test_outline.Point", "kind": "keywords", "value": {"x": 1, "y": 2}}),
        (
            datetime(2026, 1, 2, tzinfo=UTC),
            {
                "$type": "datetime.datetime",
                "kind": "method",
                "method": "fromisoformat",
                "value": "2026-01-02T00:00:00+00:00",
            },
        ),
    ],
)
def test_a_value_keeps_its_type_in_json(value: Any, expected: Any) -> None:
    assert jsonable(stored(value)) == expected


def test_nested_objects_stay_typed() -> None:
    shown = jsonable(stored({"orders": [Order(id="7", paid="2.50")]}))
    assert shown["orders"][0]["value"]["paid"]["$type"] == "decimal.Decimal"


def test_an_array_keeps_its_numbers() -> None:
    shown = jsonable(stored(np.arange(6, dtype="<i4").reshape(2, 3)))
    numbers = np.frombuffer(base64.b64decode(shown["base64"]), shown["dtype"]).reshape(shown["shape"])
    assert numbers.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("row", [("pickle", b"\x80\x04N."), ("msgpack+aes", b"x" * 40), ("msgpack", b"\xc1")])
def test_what_cannot_be_read_is_said_and_is_still_json(row: tuple[str, bytes]) -> None:
    shown = jsonable(InertSerializer().loads_typed(row))
    assert shown["$type"] in {"pickle", "encrypted", "unreadable"}
    json.dumps(shown)


VALUES: list[Any] = [
    None,
    True,
    -7,
    2**63,
    0.1,
    -0.0,
    float("inf"),
    float("nan"),
    "text\r\n\u2028\x00 é 🙂",
    b"\x00\xff",
    bytearray(b"abc"),
    [],
    {},
    [[1, [2]], {"a": {"b": []}}],
    {1: "one", (2, "x"): None, None: 3, False: 4, "$type": 5},
    Point(1, 2),
    Order(id="7", paid="2.50"),
    {"at": datetime(2026, 1, 2, tzinfo=UTC), "order": [Order(id="8", paid="1")]},
    np.arange(6, dtype="<i4").reshape(2, 3),
    {3, 1, 2},
    (1, "a"),
    AIMessage("hi", id="1", tool_calls=[{"name": "f", "args": {"x": [1]}, "id": "c"}]),
    [HumanMessage("hi"), ToolMessage("done", tool_call_id="c"), RemoveMessage(id="1")],
    Send("node", {"x": Point(1, 2)}),
    UUID(int=7),
    Decimal("2.50"),
    re.compile("a+", re.IGNORECASE),
    Path("/tmp/x"),
    timedelta(days=1, seconds=2),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_is_written_is_read_back_byte_for_byte(value: Any) -> None:
    decoded = stored(value)
    assert encode(parse(written(decoded))) == encode(decoded)
    assert editable(decoded) == written(decoded)


@pytest.mark.parametrize(
    "value",
    [value for value in VALUES if not isinstance(value, bytearray)],  # a row of which has a type of its own
    ids=lambda value: type(value).__name__,
)
def test_langgraph_loads_what_was_read_back_as_the_same(value: Any) -> None:
    raw = encode(parse(written(stored(value))))
    again = JsonPlusSerializer().loads_typed(("msgpack", raw))
    assert repr(again) == repr(JsonPlusSerializer().loads_typed(JsonPlusSerializer().dumps_typed(value)))


POINT = '{"$type": "m.P", "kind": "keywords", "value": %s}'
WRONG = {
    "{": ("line 1, column 2", "Expecting property name"),
    "": ("line 1, column 1", "Expecting value"),
    '[1,\n 2,\n "x]': ("line 3, column 2", "Unterminated string"),
    "[1,]": ("line 1, column 3", "a comma too many"),
    '{"a": 1,}': ("line 1, column 8", "a comma too many"),
    '{"a":\n 1,\n}': ("line 2, column 3", "a comma too many"),
    "[NaN]": ("", "NaN is no JSON"),
    "1" * 5_000: ("", "It cannot be stored"),
    str(2**70): ("", "It cannot be stored"),
    '["\\ud800"]': ("", "It cannot be stored"),
    "[" * 300 + "]" * 300: ("", "It cannot be stored"),
    '{"$type": "extension", "code": 1000, "base64": ""}': ("code", "from -128 to 127"),
    '{"$type": "bytes", "base64": "é"}': ("base64", "not base64"),
    POINT % '{"a": 18446744073709551616}': ("", "It cannot be stored"),
    "x" * 1_000_001: ("", "more than the 1,000,000"),
    '{"a": 1, "a": 2}': ("", "stands twice"),
    "[" * 100_000: ("", "nested too deeply"),
    '{"$type": 3}': ("$type", "A type is a text"),
    '{"$type": "P", "kind": "single", "value": 1}': ("$type", "with its module"),
    '{"a": [{"$type": "m.P"}]}': ("a[0]", "no 'kind'"),
    '{"a": {"$type": "m.P", "kind": "odd"}}': ("a.kind", "There are the kinds"),
    '{"$type": "m.P", "kind": "single"}': ("", "It has no 'value'"),
    POINT % "[]": ("value", "Its fields are an object"),
    '{"$type": "m.P", "kind": "positional", "value": 1}': ("value", "list of arguments"),
    POINT % '{}, "more": 1': ("", "has no 'more'"),
    '{"$type": "bytes", "base64": "?"}': ("base64", "not base64"),
    '{"$type": "bytes"}': ("", "no 'base64'"),
    '{"$type": "float", "value": "x"}': ("value", "It is inf"),
    '{"$type": "int", "hex": "xyz"}': ("hex", "hexadecimal"),
    '{"$type": "dict", "items": [[1]]}': ("items[0]", "a key and a value"),
    '{"$type": "dict", "items": [[{"a": 1}, 2]]}': ("items[0][0]", "cannot be a key"),
    '{"a b": {"$type": "pickle"}}': ('["a b"].$type', "cannot be written"),
    '{"$type": "numpy.ndarray", "shape": ["x"]}': ("shape", "whole numbers"),
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_what_cannot_be_stored_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(NotTypedJson) as caught:
        parse(text)
    place, reason = WRONG[text]
    assert caught.value.place == place
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"content": 5}, "[0].value.content"),
        ({"tool_calls": "none"}, "[0].value.tool_calls"),
        ({"tool_calls": [{"name": "f"}]}, "[0].value.tool_calls[0]"),
        ({"type": "human"}, "[0].value.type"),
    ],
)
def test_a_message_that_could_not_be_built_is_refused(change: dict[str, Any], place: str) -> None:
    data = jsonable(stored([AIMessage("hi")]))
    data[0]["value"].update(change)
    with pytest.raises(NotTypedJson) as caught:
        parse(json.dumps(data))
    assert caught.value.place == place


@pytest.mark.parametrize(
    "row",
    [("pickle", b"\x80\x04N."), ("msgpack+aes", b"x" * 40), ("msgpack", b"\xc1"), ("json", b'"\\ud800"')],
)
def test_what_json_cannot_hold_exactly_is_not_edited(row: tuple[str, bytes]) -> None:
    value = InertSerializer().loads_typed(row)
    if row[0] == "json":
        assert editable(value)  # the row's lone surrogate is gone already; the row itself keeps its bytes
        return
    with pytest.raises(NotTypedJson):
        editable(value)


def test_what_is_too_long_for_a_form_is_not_edited() -> None:
    with pytest.raises(NotTypedJson, match="more than the 1,000,000"):
        editable("x" * 1_000_001)


def test_nothing_is_imported_of_what_a_text_names() -> None:
    before = set(sys.modules)
    parse('{"$type": "this.that", "kind": "pydantic_v2", "value": {}, "method": "model_validate"}')
    assert "this" not in set(sys.modules) - before


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(["$type", "kind", "value", "items"]), st.text()), inner, max_size=4
        ),
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(
    ["bytes", "float", "int", "dict", "DeltaSnapshot", "numpy.ndarray", "extension", "a.B"]
)


@given(JSON, KINDS)
def test_whatever_is_typed_is_a_value_that_can_be_stored_or_is_refused(data: Any, kind: str) -> None:
    for typed in (data, {"$type": kind, "kind": "single", "value": data, "items": data, "code": 1}):
        with suppress(NotTypedJson):
            assert encode(parse(json.dumps(typed)))
