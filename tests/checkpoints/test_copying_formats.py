"""Rows that are no plain msgpack: encrypted, JSON of old releases and LangGraph.js, pickles; and old ones."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from copies import execute, in_order, official, rows, told
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Send

from checkpoints.copying import copy_thread
from checkpoints.errors import CopyRefused, KeyUnusable, StoreError

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"sixteen bytes..!"
VERSION = "00000000000000000000000000000001.0.5"
AT: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
STATE = {"messages": [HumanMessage("secret words", id="h")], "n": 7, "name": "secret name", "raw": b"\1"}
OLD_MESSAGE = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": "é 1.50", "type": "human"},
}
ADD_ROW = "INSERT INTO checkpoints VALUES (%s, '', %s, %s, %s, %s, '{}')"
ADD_WRITE = "INSERT INTO writes VALUES ('t', '', %s, 'task', '', %s, %s, %s, %s)"
ADD_BLOB = "INSERT INTO checkpoint_blobs VALUES ('t', '', %s, %s, %s, %s)"


@pytest.fixture
def file(tmp_path: Path) -> str:
    return made(str(tmp_path / "store"))


@pytest.fixture
def back(tmp_path: Path) -> str:
    return str(tmp_path / "back")


def made(place: str) -> str:
    with official(place):
        return place


def checkpoint(values: dict[str, Any], id: str = "1", v: int = 4) -> Any:
    given = {"v": v, "id": id, "channel_values": values, "channel_versions": dict.fromkeys(values, VERSION)}
    return {**empty_checkpoint(), **given}


def encrypted() -> EncryptedSerializer:
    return EncryptedSerializer.from_pycryptodome_aes(key=KEY)


def put(place: str, serde: Any, values: dict[str, Any]) -> str:
    with official(place) as saver:
        saver.serde = serde
        at = saver.put(AT, checkpoint(values), {}, dict.fromkeys(values, VERSION))
        saver.put_writes(at, [("n", 8), ("name", "another secret")], "task", "path")
    return place


def read(place: str, serde: Any) -> str:
    with official(place) as saver:
        saver.serde = serde
        return in_order(saver.get_tuple(AT))


def test_an_encrypted_thread_stays_encrypted_and_is_read_with_its_key(
    file: str, back: str, database: str
) -> None:
    put(file, encrypted(), STATE)
    copy_thread(file, database, "t", key=KEY)
    copy_thread(database, back, "t", key=KEY)
    assert read(file, encrypted()) == read(database, encrypted()) == read(back, encrypted())
    for place in (database, back):
        assert "secret" not in repr(rows(place, "t"))
    assert {row[4] for row in rows(database, "t")["checkpoint_blobs"]} == {"msgpack+aes", "bytes+aes"}
    assert execute(back, "SELECT DISTINCT type FROM checkpoints") == [("msgpack+aes",)]


def test_what_langgraph_encrypted_in_postgresql_is_encrypted_in_the_file(back: str, database: str) -> None:
    put(database, encrypted(), STATE)
    copy_thread(database, back, "t", key=KEY)
    assert read(back, encrypted()) == read(database, encrypted())
    assert "secret" not in repr(rows(back, "t"))


@pytest.mark.parametrize(
    ("key", "reason"), [(None, "Set LANGGRAPH_AES_KEY"), (b"another of 16 by", "does not fit")]
)
def test_without_its_key_an_encrypted_thread_is_copied_only_as_it_is(
    key: bytes | None, reason: str, file: str, back: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANGGRAPH_AES_KEY", raising=False)
    put(file, encrypted(), STATE)
    with pytest.raises(KeyUnusable, match=reason):
        copy_thread(file, database, "t", key=key)
    copy_thread(file, back, "t", key=key)
    assert rows(back, "t") == rows(file, "t")


def test_the_key_is_taken_from_the_environment(
    file: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_AES_KEY", KEY.decode())
    copy_thread(put(file, encrypted(), STATE), database, "t")
    assert read(database, encrypted()) == read(file, encrypted())


def json_row(values: str, versions: dict[str, Any], **rest: Any) -> bytes:
    parts = {"v": 4, "id": "1", "ts": "", "versions_seen": {}, **rest, "channel_versions": versions}
    return f'{json.dumps(parts)[:-1]}, "channel_values": {values} }}'.encode()


def test_json_is_cut_and_joined_by_its_text(file: str, back: str, database: str) -> None:
    message = json.dumps(OLD_MESSAGE)
    values = f'{{"messages" : [{message}] ,"n":1.50, "none": null, "x": {{"a":[1e2]}}, "free": [] }}'
    row = json_row(values, {"messages": 4, "n": 4, "none": 3, "x": 2})
    execute(file, ADD_ROW, "t", "1", None, "json", row)
    copy_thread(file, database, "t")
    copy_thread(database, back, "t")
    assert told(file, "t") == told(database, "t") == told(back, "t")
    assert "HumanMessage(content='é 1.50'" in told(back, "t")[0]
    blobs = {row[2]: row[4:] for row in rows(database, "t")["checkpoint_blobs"]}
    assert blobs["messages"] == ("json", f"[{message}]".encode())
    assert blobs["n"] == ("json", b"1.50")
    [(kind, text)] = execute(back, "SELECT type, checkpoint FROM checkpoints")
    assert (kind, blobs["x"][1] in text) == ("json", True)


@pytest.mark.parametrize(
    "text", ['{"a": 1', "[]", '{"channel_values": {"a" 1}}', '{"v": NaN}', "", "[" * 99_999]
)
def test_json_that_cannot_be_cut_is_refused(text: str, file: str, database: str) -> None:
    execute(file, ADD_ROW, "t", "1", None, "json", text)
    with pytest.raises(CopyRefused, match="Checkpoint '1' cannot be copied exactly"):
        copy_thread(file, database, "t")


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("pickle", pickle.dumps({})),
        ("msgpack", b""),
        ("msgpack", b"\x81"),
        ("msgpack", b"\x80\x80"),
        ("msgpack", b"\x90"),
        ("msgpack", b"\x81\x01\x80"),
        ("msgpack", b"\x81\xaechannel_values\x81\xa1a\xc1"),
        ("msgpack+other", b"\x80"),
        (None, b"\x80"),
        ("msgpack", None),
        ("msgpack", 7),
    ],
)
def test_rows_that_cannot_be_taken_apart_are_refused_by_name(
    kind: Any, stored: Any, file: str, back: str, database: str
) -> None:
    execute(file, ADD_ROW, "t", "1", None, kind, stored)
    with pytest.raises(StoreError, match=r"Checkpoint '1'|encrypted with 'other'"):
        copy_thread(file, database, "t")
    copy_thread(file, back, "t")
    assert rows(back, "t") == rows(file, "t")


@pytest.mark.parametrize(("idx", "value"), [(1 << 31, b""), ("a", b""), (0, None), (0, 7)])
def test_writes_that_postgresql_has_no_columns_for_are_refused(
    idx: Any, value: Any, file: str, database: str
) -> None:
    execute(file, ADD_WRITE, "1", idx, "c", "msgpack", value)
    with pytest.raises(CopyRefused, match=r"Checkpoint '1' .* has a write that is stored in a way"):
        copy_thread(file, database, "t")


def test_pickled_writes_are_copied_as_they_are(file: str, back: str, database: str) -> None:
    execute(file, ADD_WRITE, "1", 0, "c", "pickle", pickle.dumps({1}))
    copy_thread(file, database, "t")
    copy_thread(database, back, "t")
    assert rows(back, "t") == rows(file, "t")


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("null", b""),
        ("bytes", b"\0\xff"),
        ("bytearray", b"\0\xff"),
        ("json", b'{"a": [1, 2.50, null]}'),
        ("empty", None),
    ],
)
def test_every_type_of_blob_is_read_in_the_file_as_it_is_in_postgresql(
    kind: str, raw: bytes, back: str, database: str, tmp_path: Path, postgres: Any
) -> None:
    put(made(database), JsonPlusSerializer(), {"messages": STATE["messages"]})
    execute(database, ADD_BLOB, "c", VERSION, kind, raw)
    versions = "jsonb_set(checkpoint, '{channel_versions,c}', to_jsonb(%s::text))"
    execute(database, f"UPDATE checkpoints SET checkpoint = {versions}", VERSION)
    copy_thread(database, back, "t")
    assert told(back, "t") == told(database, "t")
    with postgres.database() as again:
        copy_thread(back, again, "t")
        assert told(again, "t") == told(database, "t")
        if kind.startswith("bytes"):
            assert rows(again, "t") == rows(database, "t")


@pytest.mark.parametrize(
    ("kind", "raw", "reason"),
    [
        ("pickle", pickle.dumps({1}), "a value of the type 'pickle'"),
        ("other", b"", "a value of the type 'other'"),
        ("msgpack", b"", "not one value"),
        ("msgpack", b"\x01\x02", "not one value"),
        ("json", json.dumps(OLD_MESSAGE).encode(), "objects as JSON beside others"),
        ("json", b"{", "Expecting"),
        ("msgpack+aes", b"short", "too short"),
    ],
)
def test_blobs_that_have_no_place_in_a_row_are_refused(
    kind: str, raw: bytes, reason: str, back: str, database: str, tmp_path: Path
) -> None:
    put(made(database), JsonPlusSerializer(), {"messages": STATE["messages"], "c": [1]})
    execute(database, "UPDATE checkpoint_blobs SET type = %s, blob = %s WHERE channel = 'c'", kind, raw)
    with pytest.raises((CopyRefused, KeyUnusable), match=reason):
        copy_thread(database, back, "t", key=KEY)
    assert list(tmp_path.iterdir()) == []


def test_sends_before_version_4_are_writes_of_the_parent_in_postgresql_and_a_channel_in_the_file(
    file: str, back: str, database: str
) -> None:
    serde = JsonPlusSerializer()
    sends = [Send("work", {"n": n}) for n in range(3)]
    with official(file) as saver:
        parent = saver.put(AT, checkpoint({"log": ["a"]}, "1", v=1), {}, {})
        saver.put_writes(parent, [("__pregel_tasks", send) for send in sends], "task")
        old = {**checkpoint({"log": ["a"]}, "2", v=1), "pending_sends": sends}
        saver.put(parent, old, {}, {})
    copy_thread(file, database, "t")
    copy_thread(database, back, "t")
    assert rows(back, "t")["writes"] == rows(file, "t")["writes"]
    assert told(back, "t") == told(database, "t")
    with official(back) as saver:
        assert saver.get_tuple(AT).checkpoint["channel_values"]["__pregel_tasks"] == sends
    execute(file, "DELETE FROM writes WHERE value = %s", serde.dumps_typed(sends[1])[1])
    with pytest.raises(CopyRefused, match="send tasks that its parent has no writes of"):
        copy_thread(file, database, "t", "other")


def test_writes_without_their_checkpoint_are_copied_and_blobs_without_one_are_counted(
    file: str, back: str, database: str
) -> None:
    execute(file, ADD_WRITE, "gone", 0, "c", "msgpack", b"\x01")
    copy_thread(file, database, "t")
    execute(database, ADD_BLOB, "c", VERSION, "msgpack", b"\x01")
    copied = copy_thread(database, back, "t")
    assert copied.left == 1
    assert rows(back, "t") == rows(file, "t")


def test_files_without_task_paths_are_copied(file: str, back: str, database: str) -> None:
    execute(file, ADD_WRITE, "gone", 0, "c", "msgpack", b"\x01")
    expected = rows(file, "t")
    execute(file, "ALTER TABLE writes DROP COLUMN task_path")
    for target in (back, database):
        copy_thread(file, target, "t")
    copy_thread(back, file, "t", "again")  # into the old table, which gets the column
    assert rows(back, "t") == expected
    assert {row[0] for row in rows(file, "again")["writes"]} == {"again"}
    assert len(rows(database, "t")["checkpoint_writes"]) == 1


def test_databases_before_the_last_migration_are_copied_and_migrated(
    back: str, database: str, postgres: Any
) -> None:
    put(made(database), JsonPlusSerializer(), STATE)
    execute(database, "ALTER TABLE checkpoint_writes DROP COLUMN task_path")
    execute(database, "DELETE FROM checkpoint_migrations WHERE v = 9")
    copy_thread(database, back, "t")
    copy_thread(back, database, "t", "again")
    assert execute(database, "SELECT max(v) FROM checkpoint_migrations") == [(9,)]
    assert [row[1:] for row in rows(database, "again")["checkpoint_blobs"]] == [
        row[1:] for row in rows(database, "t")["checkpoint_blobs"]
    ]
