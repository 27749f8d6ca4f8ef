"""Values that need care on their way between the kinds of stores, and those that are refused."""

from __future__ import annotations

import json
import math
import sqlite3
from typing import TYPE_CHECKING, Any

import ormsgpack
import pytest
from copies import execute, official, rows, told
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from checkpoints.copying import copy_thread
from checkpoints.errors import CopyRefused

if TYPE_CHECKING:
    from pathlib import Path

    from postgres import Databases

KEY = "sixteen bytes..!"
V1, V2 = "00000000000000000000000000000001.0.5", "00000000000000000000000000000002.0.25"
AT = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


def checkpoint(n: int, values: dict[str, Any], versions: dict[str, Any] | None = None) -> Any:
    versions = dict.fromkeys(values, V1) if versions is None else versions
    given = {"v": 4, "id": f"{n:08}", "channel_values": values, "channel_versions": versions}
    return {**empty_checkpoint(), **given}


def put(place: str, *checkpoints: Any, metadata: Any = None) -> str:
    """Store checkpoints of the thread with the official saver."""
    with official(place) as saver:
        for each in checkpoints:
            saver.put(AT, each, {"source": "loop", "step": 1, **(metadata or {})}, each["channel_versions"])
    return place


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def back(tmp_path: Path) -> str:
    return str(tmp_path / "back")


def inline(database: str) -> dict[str, Any]:
    [(found,)] = execute(database, "SELECT checkpoint -> 'channel_values' FROM checkpoints")
    return dict(found)


def blobs(database: str) -> dict[str, tuple[str, bytes]]:
    found = execute(database, "SELECT channel, type, blob FROM checkpoint_blobs")
    return {channel: (kind, raw) for channel, kind, raw in found}


PLAIN = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    1.5,
    0.1,
    5e-324,
    1e-7,
    -2.5e15,
    "",
    "é\U0001f600\n\\u0000",
]
NOT_PLAIN = [math.nan, math.inf, -math.inf, -0.0, 1e16, 1.7e308, "a\0b", "\0"]
OTHERS = [
    [],
    {},
    [1, "a"],
    {"a": {1: 2}},
    {1, 2},
    HumanMessage("hello", id="h"),
    b"",
    b"\0\xff",
    b"x" * 70_000,
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_stand_in_the_json_as_langgraph_writes_them(
    value: Any, file: str, back: str, database: str
) -> None:
    copy_thread(put(file, checkpoint(1, {"c": value})), database, "t")
    assert (inline(database), blobs(database)) == ({"c": value}, {})
    copy_thread(database, back, "t")
    assert told(back, "t") == told(database, "t") == told(file, "t")


@pytest.mark.parametrize("value", [*NOT_PLAIN, *OTHERS], ids=lambda value: repr(value)[:20])
def test_what_json_cannot_hold_exactly_is_a_row_with_the_bytes_of_the_file(
    value: Any, file: str, back: str, database: str
) -> None:
    copy_thread(put(file, checkpoint(1, {"c": value})), database, "t")
    assert inline(database) == {}
    assert blobs(database) == {"c": JsonPlusSerializer().dumps_typed(value)}
    copy_thread(database, back, "t")
    assert told(back, "t") == told(database, "t") == told(file, "t")


def test_long_texts_are_rows_when_one_json_could_not_hold_them(file: str, back: str, database: str) -> None:
    values = {name: name * (7 << 20) for name in "abc"}
    copy_thread(put(file, checkpoint(1, values)), database, "t")
    assert sorted(inline(database)) == ["a", "b"]
    assert sorted(blobs(database)) == ["c"]
    copy_thread(database, back, "t")
    with official(back) as saver:
        assert saver.get_tuple(AT).checkpoint["channel_values"] == values


def test_numbers_as_versions_find_their_values(file: str, database: str) -> None:
    versions = {"a": 3, "b": 2.5, "c": None, "d": "4"}
    copy_thread(put(file, checkpoint(1, {"a": [1], "b": [2], "c": 5, "d": [4]}, versions)), database, "t")
    assert told(database, "t") == told(file, "t")
    assert {row[3] for row in rows(database, "t")["checkpoint_blobs"]} == {"3", "2.5", "4"}


def test_a_value_without_a_version_stands_in_the_json_if_that_can_hold_it(file: str, database: str) -> None:
    copy_thread(put(file, checkpoint(1, {"log": [{"a": [1, None]}]}, {})), database, "t")
    assert told(database, "t") == told(file, "t")
    put(file, checkpoint(2, {"log": [HumanMessage("x")]}, {}))
    with pytest.raises(CopyRefused, match=r"'00000002' .* no place for a value of 'log' without a version"):
        copy_thread(file, database, "t", "other")
    assert not any(rows(database, "other").values())


def test_the_same_value_written_anew_is_stored_once(file: str, database: str) -> None:
    some, same = ({"s": {*order}, "d": [{"a": 1, "b": 2}]} for order in (range(20), reversed(range(20))))
    put(file, checkpoint(1, some), checkpoint(2, same))
    raw = ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb(["builtins", "set", [*range(19, -1, -1)]])))
    with sqlite3.connect(file) as conn:  # as another process may write it
        [(row,)] = conn.execute("SELECT checkpoint FROM checkpoints WHERE checkpoint_id = '00000002'")
        first = JsonPlusSerializer().dumps_typed(some["s"])[1]
        conn.execute(
            "UPDATE checkpoints SET checkpoint = ? WHERE checkpoint_id = '00000002'",
            (row.replace(first, raw),),
        )
    assert first != raw
    copy_thread(file, database, "t")
    assert blobs(database)["s"] == ("msgpack", first)
    assert told(database, "t") == told(file, "t")


def test_an_object_that_a_newer_release_wrote_with_more_fields_is_the_same(file: str, database: str) -> None:
    put(file, checkpoint(1, {"m": [HumanMessage("hello", id="h")]}), checkpoint(2, {"m": 0}))
    fields = {"content": "hello", "type": "human", "id": "h", "example": False, "citations": []}
    message = ormsgpack.Ext(
        5, ormsgpack.packb(["langchain_core.messages.human", "HumanMessage", fields, "model_validate_json"])
    )
    with official(file) as saver:
        whole = ormsgpack.packb(
            {**checkpoint(2, {}), "channel_values": {"m": [message]}, "channel_versions": {"m": V1}}
        )
        saver.conn.execute("UPDATE checkpoints SET checkpoint = ? WHERE checkpoint_id = '00000002'", (whole,))
        saver.conn.commit()
    copy_thread(file, database, "t")
    assert len(blobs(database)) == 1


def test_two_values_at_one_version_stand_in_the_json_or_are_refused(
    file: str, back: str, database: str
) -> None:
    put(file, checkpoint(1, {"log": ["a"]}), checkpoint(2, {"log": ["b"]}), checkpoint(3, {"log": ["a"]}))
    copy_thread(file, database, "t")
    copy_thread(database, back, "t")
    assert told(back, "t") == told(database, "t") == told(file, "t")
    put(file, checkpoint(4, {"log": [{"a": {1}}]}))
    with pytest.raises(CopyRefused, match="'log' that differs from another one at its version"):
        copy_thread(file, database, "t", "other")


def test_the_rows_in_postgresql_are_those_that_langgraph_s_own_saver_writes(
    file: str, database: str, postgres: Databases
) -> None:
    values = {
        "messages": [HumanMessage("é", id="h")],
        "items": _DeltaSnapshot([{"a": 1}]),
        "raw": b"\0",
        **{str(place): value for place, value in enumerate(PLAIN)},
    }
    checkpoints = checkpoint(1, values), checkpoint(2, {**values, "n": 2})
    with postgres.database() as native:
        for place in (file, native):
            put(place, *checkpoints)
            with official(place) as saver:
                at = {"configurable": {**AT["configurable"], "checkpoint_id": "00000002"}}
                saver.put_writes(at, [("n", 3), ("raw", b"1"), ("__error__", "e")], "task", "~path")
        copy_thread(file, database, "t")
        assert rows(database, "t") == rows(native, "t")


def test_no_value_at_the_version_of_another_checkpoints_value_is_none_in_the_copy(
    file: str, database: str
) -> None:
    copy_thread(put(file, checkpoint(1, {"log": ["a"]}), checkpoint(2, {}, {"log": V1})), database, "t")
    assert told(database, "t") == told(file, "t")


@pytest.mark.parametrize("value", [math.nan, "a\0b", "\ud800"], ids=repr)
def test_metadata_that_postgresql_cannot_hold_is_refused(value: Any, file: str, database: str) -> None:
    put(file, checkpoint(1, {}))
    put(file, checkpoint(2, {}))
    text = json.dumps({"source": "loop", "user": [value]})
    execute(file, "UPDATE checkpoints SET metadata = %s WHERE checkpoint_id = '00000002'", text.encode())
    with pytest.raises(CopyRefused, match=r"Checkpoint '00000002' .* cannot hold its metadata"):
        copy_thread(file, database, "t")
    assert execute(database, "SELECT to_regclass('checkpoints')") == [(None,)]


def test_metadata_that_only_looks_like_a_nul_is_copied(file: str, database: str) -> None:
    copy_thread(put(file, checkpoint(1, {}), metadata={"user": "\\u0000"}), database, "t")
    assert told(database, "t") == told(file, "t")
