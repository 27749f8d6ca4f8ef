"""Stored values as JSON that keeps their types."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from test_outline import Order, Point, stored

from checkpoints.inert import InertSerializer
from checkpoints.typedjson import jsonable


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
