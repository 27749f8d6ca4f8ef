"""Values as typed lines: what is shown, what is left out, and where it goes on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Send
from pydantic import BaseModel, SecretStr

from checkpoints.inert import InertSerializer
from checkpoints.inert.packing import encode
from checkpoints.outline import CHILDREN_SHOWN, TEXT_SHOWN, at_path, brief, outline, with_part


class Order(BaseModel):
    id: str
    paid: Decimal


@dataclass
class Point:
    x: int
    y: int


def stored(value: Any) -> Any:
    """Return the value as a store gives it back to the explorer."""
    return InertSerializer().loads_typed(JsonPlusSerializer().dumps_typed(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (3.5, "3.5"),
        (float("nan"), "nan"),
        ("a <b>", '"a <b>"'),
        (b"\x00\xff", "2 bytes  00 ff"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (date(1999, 12, 31), "1999-12-31"),
        (time(6, 7, 8, 9), "06:07:08.000009"),
        (timedelta(3, 4), "3 days, 0:00:04"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Decimal("240.00"), "240.00"),
        (Path("/var/log"), "/var/log"),
        (SecretStr("hunter2"), "••••••••"),
        ({1, 2}, "set(1, 2)"),
        (deque([1, "two"]), 'deque(1, "two")'),
        (Point(1, 2), "Point(x: 1, y: 2)"),
        (Order(id="7", paid=Decimal(2)), 'Order(id: "7", paid: 2)'),
        (Send("tools", {"n": 1}), 'Send("tools", {n: 1})'),
        ({"a": [], "b": {}}, "{a: [], b: {}}"),
        ({1: "one", None: 2}, '{1: "one", null: 2}'),
    ],
)
def test_a_value_is_named_in_one_line(value: Any, text: str) -> None:
    assert brief(stored(value)) == text


def test_a_brief_is_never_longer_than_asked_by_much() -> None:
    assert len(brief(stored({f"key {n}": ["x" * 50] * 9 for n in range(99)}), 80)) < 120


def test_an_outline_nests_what_nests() -> None:
    lines = list(outline(stored({"order": Order(id="7", paid=Decimal(2)), "n": 1})))
    assert [(line.mark, line.label, line.type) for line in lines] == [
        ("open", "", "dict"),
        ("open", "order", f"{__name__}.Order"),
        ("leaf", "id", ""),
        ("leaf", "paid", "decimal.Decimal"),
        ("close", "", ""),
        ("leaf", "n", ""),
        ("close", "", ""),
    ]


def test_every_line_that_leaves_something_out_leads_to_it() -> None:
    value = stored({"rows": list(range(CHILDREN_SHOWN + 5)), "text": "x" * (TEXT_SHOWN + 1)})
    rows, text = (line for line in outline(value) if line.mark == "more")
    assert list(at_path(value, rows.path))[rows.start :] == [100, 101, 102, 103, 104]
    assert at_path(value, text.path) == "x" * (TEXT_SHOWN + 1)


def test_an_outline_goes_on_where_it_stopped() -> None:
    lines = [line.text for line in outline(stored(list(range(130))), start=100) if line.mark == "leaf"]
    assert lines == [str(n) for n in range(100, 130)]


def test_an_outline_is_bounded_whatever_it_shows() -> None:
    wide = stored([[list(range(90)) for _ in range(90)] for _ in range(90)])
    lines = list(outline(wide, shown=50))
    assert sum(line.mark == "leaf" for line in lines) <= 50
    assert sum(line.mark == "open" for line in lines) == sum(line.mark == "close" for line in lines)


def test_parts_are_addressed_through_objects_and_odd_keys() -> None:
    value = stored({None: {"a/b": [Point(1, 2)]}})
    assert at_path(value, (0, 0, 0, 1)) == 2


@pytest.mark.parametrize("path", [(9,), (0, 0, 0), (0, 9)])
def test_an_address_without_a_part_is_refused(path: tuple[int, ...]) -> None:
    with pytest.raises(LookupError):
        at_path(stored([[1]]), path)


@pytest.mark.parametrize("value", [{"a": [1, {"b": 2}]}, [Order(id="7", paid="2.50"), "x"], {1: Point(1, 2)}])
def test_each_part_can_be_replaced_by_itself_without_a_change(value: Any) -> None:
    whole = stored(value)
    for line in outline(whole):
        if line.path and line.mark != "close":
            again = with_part(whole, line.path, at_path(whole, line.path))
            assert encode(again) == encode(whole)


def test_a_part_is_replaced_and_the_objects_around_it_stay() -> None:
    whole = stored({"orders": [Order(id="7", paid="2.50"), Point(1, 2)]})
    changed = with_part(whole, (0, 0, 0), "8")
    assert JsonPlusSerializer().loads_typed(("msgpack", encode(changed))) == {
        "orders": [Order(id="8", paid="2.50"), Point(1, 2)]
    }
    assert at_path(whole, (0, 0, 0)) == "7"
    assert with_part(whole, (), 1) == 1


@pytest.mark.parametrize("path", [(1,), (0, 2), (0, 0, 9), (0, 0, 0, 0), (-1,)])
def test_a_part_that_is_not_there_is_not_replaced(path: tuple[int, ...]) -> None:
    with pytest.raises(LookupError):
        with_part(stored({"orders": [Order(id="7", paid="2.50"), "x"]}), path, None)


def test_an_object_of_a_json_row_is_replaced_as_a_whole_only() -> None:
    value = {"m": {"lc": 1, "type": "constructor", "id": ["a", "B"], "kwargs": {"x": 1}}}
    with pytest.raises(LookupError):
        with_part(value, (0, 0), 2)
