"""Pruned threads: what is kept of them, what LangGraph sees in it, and how it goes on."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from thread_graphs import (
    ALL_WAYS,
    DELTAS,
    LIKELIEST,
    SHAPES,
    Rows,
    asynchronous,
    counting,
    delta,
    execute,
    go_on,
    original,
    remembering,
    rows,
    store,
    sync,
    thread,
    view,
    written,
)

from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS = [sync, asynchronous]
DELTA_CHANNELS = ["log", "rare", "never", "story"]
# What is left of a thread: its checkpoints in each namespace, its writes.
KEPT: dict[str, tuple[dict[str, int], int]] = {
    "agent with tools": ({"": 1}, 0),
    "interrupt": ({"": 1}, 1),  # its interrupt
    "resumed": ({"": 1}, 0),
    "fan-out": ({"": 1}, 5),  # two results with what they trigger, one interrupt
    "joined, forked": ({"": 1}, 0),
    "nested": ({"": 1, "middle:": 1, "middle:|inner:": 1}, 3),  # an interrupt in each
    "nested, done": ({"": 1}, 0),
    "map": ({"": 1, "review:": 3, "review:|leaf:": 3}, 7),
    "map, done": ({"": 1}, 0),
    "functional": ({"": 1}, 2),  # a task's result and an interrupt
    "failed, mended": ({"": 1}, 0),
    "delta, wiped": ({"": 1}, 0),  # each channel is whole in the head, or empty
    "delta, begun by hand": ({"": 9}, 23),  # the first checkpoint is the only one that is whole
    "delta at exit": ({"": 2}, 10),  # the stub has the writes
    "delta, asking": ({"": 11}, 33),  # nothing was ever whole but the input
    "memory, done": ({"": 1, "memory": 14}, 22),  # its story was never whole
}


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    """A database with a thread of each shape."""
    with store() as conn:
        yield conn


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The same as a file."""
    (tmp_path / "store").write_bytes(written())
    return tmp_path / "store"


def sees(saver: Any, name: str) -> Any:
    return view(SHAPES[name].build(saver), thread(name))


def history(saver: Any, thread_id: str, checkpoint_ns: str = "") -> Any:
    """Return the DeltaChannels' history as LangGraph's own walk finds it."""
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}}
    return repr(BaseCheckpointSaver.get_delta_channel_history(saver, config=config, channels=DELTA_CHANNELS))


@pytest.mark.parametrize("name", SHAPES)
def test_the_head_is_what_it_was(name: str, conn: sqlite3.Connection) -> None:
    before = sees(OfficialSaver(conn), name)
    memory = history(OfficialSaver(conn), name, "memory")
    SqliteSaver(conn).prune([name])
    assert sees(SqliteSaver(conn), name) == sees(OfficialSaver(conn), name) == before
    assert history(OfficialSaver(conn), name, "memory") == memory


@pytest.mark.parametrize(("name", "way"), ALL_WAYS)
def test_a_pruned_thread_goes_on_as_one_that_is_not(name: str, way: str, conn: sqlite3.Connection) -> None:
    SqliteSaver(conn).prune([name])
    assert go_on(name, way, SqliteSaver(conn)) == original(name, way)


@pytest.mark.parametrize(("name", "way"), LIKELIEST)
def test_the_official_saver_goes_on_with_it_too(name: str, way: str, conn: sqlite3.Connection) -> None:
    SqliteSaver(conn).prune([name])
    assert go_on(name, way, OfficialSaver(conn)) == original(name, way)


@pytest.mark.parametrize("name", DELTAS)
def test_a_thread_may_be_pruned_after_each_step(name: str, conn: sqlite3.Connection) -> None:
    """What is kept for one head is enough for those that follow it."""
    saver, way = SqliteSaver(conn), dict(LIKELIEST)[name]
    put = saver.put

    def put_and_prune(*args: Any) -> Any:
        told = put(*args)
        saver.prune([name])
        return told

    saver.put = put_and_prune  # type: ignore[method-assign]
    saver.prune([name])
    assert go_on(name, way, saver) == original(name, way)


@pytest.mark.parametrize("call", CALLS)
def test_what_is_kept_is_kept_byte_for_byte_and_other_threads_are_left_alone(call: Any, path: Path) -> None:
    pruned = [name for n, name in enumerate(SHAPES) if n % 2]
    before = {name: rows(path, name) for name in SHAPES}
    call(path, "prune", pruned)
    after = {name: rows(path, name) for name in SHAPES}
    assert all(after[name] == before[name] for name in SHAPES if name not in pruned)
    for name in pruned:
        ids = {row[:2] for row in after[name].checkpoints}
        kept = [row for row in before[name].checkpoints if row[:2] in ids]
        assert after[name].writes == [row for row in before[name].writes if row[:2] in ids]
        assert [(row[:2], row[3:]) for row in after[name].checkpoints] == [(r[:2], r[3:]) for r in kept]
        for row, old in zip(after[name].checkpoints, kept, strict=True):
            assert row[2] == (old[2] if (old[0], old[2]) in ids else None)


@pytest.mark.parametrize("name", KEPT)
def test_no_more_is_kept_than_the_head_needs(name: str, conn: sqlite3.Connection) -> None:
    SqliteSaver(conn).prune([name])
    found = rows(conn, name)
    assert (found.sizes, len(found.writes)) == KEPT[name]


@pytest.mark.parametrize("name", DELTAS)
def test_the_oldest_checkpoint_that_is_kept_is_needed(name: str, conn: sqlite3.Connection) -> None:
    SqliteSaver(conn).prune([name])
    for checkpoint_ns in {row[0] for row in rows(conn, name).checkpoints}:
        kept = [row for row in rows(conn, name).checkpoints if row[0] == checkpoint_ns]
        before = history(OfficialSaver(conn), name, checkpoint_ns)
        for table in ("checkpoints", "writes") if len(kept) > 1 else ():
            sql = f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
            execute(conn, sql, name, *kept[0][:2])
        assert (history(OfficialSaver(conn), name, checkpoint_ns) != before) == (len(kept) > 1)


@pytest.mark.parametrize("call", CALLS)
def test_a_second_prune_changes_nothing(call: Any, path: Path) -> None:
    call(path, "prune", [*SHAPES, *SHAPES])
    before = {name: rows(path, name) for name in SHAPES}
    call(path, "prune", list(SHAPES))
    assert {name: rows(path, name) for name in SHAPES} == before


def test_a_memory_is_remembered_by_the_next_call(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    for n in (1, 20, 300):
        told = remembering(saver).invoke({"n": n, "log": []}, thread("1"))
        saver.prune(["1"])
    assert told["log"][-1] == "n is 621"  # 321 in all, and a hundred for each of three lines
    assert rows(conn, "1").sizes == {"": 1, "memory": 14}


def test_prune_delete_leaves_nothing(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    execute(conn, "INSERT INTO writes VALUES ('map', '', 'gone', 'task', '', 0, 'log', 'null', '')")
    before = rows(conn, "nested")
    saver.prune(["map", "delta 5", "map"], strategy="delete")
    assert rows(conn, "map") == rows(conn, "delta 5") == Rows([], [])
    assert rows(conn, "nested") == before


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("strategy", ["keep_latest", "delete"])
def test_threads_that_do_not_exist_change_nothing(strategy: str, call: Any, path: Path) -> None:
    before = [rows(path, name) for name in SHAPES]
    call(path, "prune", [], strategy=strategy)
    call(path, "prune", ["not there", "", "joine", "%", "x\x00"], strategy=strategy)
    assert [rows(path, name) for name in SHAPES] == before


@pytest.mark.parametrize("call", CALLS)
def test_what_cannot_be_meant_is_refused(call: Any, path: Path) -> None:
    before = [rows(path, name) for name in SHAPES]
    with pytest.raises(ValueError, match=r"'oldest'.*'keep_latest' and 'delete'"):
        call(path, "prune", ["map"], strategy="oldest")
    for strategy in ("keep_latest", "delete"):
        with pytest.raises(TypeError, match="list of thread ids"):
            call(path, "prune", "map", strategy=strategy)
    assert [rows(path, name) for name in SHAPES] == before


@pytest.mark.parametrize("call", CALLS)
def test_a_thread_that_fails_stays_whole_and_those_before_it_stay_pruned(call: Any, path: Path) -> None:
    execute(
        path,
        """CREATE TRIGGER stuck BEFORE DELETE ON checkpoints WHEN OLD.thread_id = 'map, done'
        AND OLD.checkpoint_ns <> '' BEGIN SELECT RAISE(ABORT, 'stuck'); END""",
    )
    names = ["nested, done", "map, done", "resumed"]
    before = {name: rows(path, name) for name in names}
    with pytest.raises(sqlite3.IntegrityError, match="stuck"):
        call(path, "prune", names)
    assert [rows(path, name) == before[name] for name in names] == [False, True, True]
    assert len(rows(path, "nested, done").checkpoints) == 1


@pytest.mark.parametrize("thread_id", ["", "é'\"\\%_\n", "1\x002", "\U0001f600", 7])
def test_a_thread_id_may_be_any_text(thread_id: Any, conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    saver.copy_thread("delta, forked", thread_id)
    saver.prune([thread_id, "delta, forked"])
    assert rows(conn, str(thread_id)) == rows(conn, "delta, forked")


# Rows that LangGraph of today does not write.


def put(saver: Any, id: str, parent: str | None, metadata: Any = None, **checkpoint: Any) -> None:
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": parent}}
    versions = {"log": "1", "rare": "1"}
    saver.put(
        config,
        {**empty_checkpoint(), "id": id, "channel_versions": versions, **checkpoint},
        metadata or {},
        {},
    )


def put_all(saver: Any, **parents: str | None) -> None:
    for id, parent in parents.items():
        put(saver, id, parent)


def write(saver: Any, channel: str, *ids: str) -> None:
    for id in ids:
        config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": id}}
        saver.put_writes(config, [(channel, f"written to {id}")], "task")


def ids(conn: sqlite3.Connection) -> list[str]:
    return [row[1] for row in rows(conn, "1").checkpoints]


@pytest.mark.parametrize(("version", "kept"), [(1, ["b", "c"]), (3, ["b", "c"]), (4, ["c"]), (2**70, ["c"])])
def test_before_version_4_the_parent_that_has_the_sends_is_kept(
    version: int, kept: list[str], conn: sqlite3.Connection
) -> None:
    saver = SqliteSaver(conn, serde=Plain())
    put_all(saver, a=None, b="a")
    put(saver, "c", "b", v=version)
    write(saver, "__pregel_tasks", "a", "b", "c")
    saver.prune(["1"])
    assert ids(conn) == kept
    assert [row[1] for row in rows(conn, "1").writes] == kept
    assert [row[2] for row in rows(conn, "1").checkpoints] == [None, *kept[:-1]]


def test_before_version_4_a_parent_without_sends_goes(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    put(saver, "a", None)
    put(saver, "b", "a", v=1)
    write(saver, "log", "a")
    saver.prune(["1"])
    assert ids(conn) == ["b"]


@pytest.mark.parametrize(
    ("root", "namespace", "stays"),
    [
        ("a", "call:1", False),
        ("a", "call:1|inner:2", False),
        ("a", "memory|call:2", False),
        ("a", "memory", True),
        ("a", "memory|inner", True),
        ("b", "call:1", True),
        ("c", "call:1", True),  # its run has not stored the root's checkpoint yet
        (None, "call:1", True),
    ],
)
def test_a_call_goes_when_the_root_has_gone_past_it(
    root: str | None, namespace: str, stays: bool, conn: sqlite3.Connection
) -> None:
    saver = SqliteSaver(conn)
    put_all(saver, a=None, b="a")
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": namespace}}
    metadata: Any = {"parents": {"": root}} if root else {}
    stored = saver.put(config, {**empty_checkpoint(), "id": "a1"}, metadata, {})
    saver.put_writes(stored, [("log", "written")], "task")
    saver.prune(["1"])
    assert ids(conn) == ["b", *(["a1"] if stays else [])]
    assert len(rows(conn, "1").writes) == stays


def test_calls_of_a_thread_without_a_root_stay(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "call:1"}}
    for id in ("a", "b"):
        saver.put(config, {**empty_checkpoint(), "id": id}, {"parents": {"": "gone"}}, {})
    saver.prune(["1"])
    assert ids(conn) == ["b"]


class Plain(JsonPlusSerializer):
    """A serializer of somebody else's, with a format of its own."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "plain", json.dumps(obj).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return json.loads(data[1])


COUNTED = {"counters_since_delta_snapshot": {"log": [1, 1]}}


@pytest.mark.parametrize(
    "metadata",
    [
        "NULL",
        "'{}'",
        "'[]'",
        "'[1, {}]'",
        "'\"text\"'",
        "'7'",
        "'null'",
        "'{\"score\": NaN}'",
        "'{\"counters_since_delta_snapshot\": [1]}'",
        "'{\"counters_since_delta_snapshot\": {}}'",
        "'{\"counters_since_delta_snapshot\": null}'",
        "'{\"parents\": [1]}'",
        "x'7b7d'",
    ],
)
def test_metadata_may_say_nothing(metadata: str, conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    put_all(saver, a=None, b="a")
    execute(conn, f"UPDATE checkpoints SET metadata = {metadata} WHERE thread_id = '1'")
    execute(
        conn, "UPDATE checkpoints SET checkpoint_ns = 'call:1' WHERE thread_id = '1' AND checkpoint_id = 'a'"
    )
    saver.prune(["1"])
    assert ids(conn) == ["b", "a"]


@pytest.mark.parametrize("metadata", ["{", "", b"\xff\xfe", "[" * 100_000])
def test_metadata_that_cannot_be_read_fails_its_thread_and_leaves_it_whole(
    metadata: Any, conn: sqlite3.Connection
) -> None:
    saver = SqliteSaver(conn)
    put_all(saver, a=None, b="a")
    execute(
        conn, "UPDATE checkpoints SET metadata = ? WHERE thread_id = '1' AND checkpoint_id = 'b'", metadata
    )
    before = rows(conn, "1"), rows(conn, "map, done"), rows(conn, "resumed")
    with pytest.raises((ValueError, RecursionError)):
        saver.prune(["map, done", "1", "resumed"])
    assert (rows(conn, "1"), rows(conn, "resumed")) == before[::2]
    assert rows(conn, "map, done") != before[1]
    put(saver, "c", "b")  # it still writes
    assert ids(conn) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("of_a", "of_b", "kept"),
    [("b", "a", "abz"), ("z", "a", "abz"), (None, "b", "bz"), ("a", "z", "bz")],
)
def test_parents_that_loop_end_the_chain(
    of_a: str | None, of_b: str, kept: str, conn: sqlite3.Connection
) -> None:
    saver = SqliteSaver(conn)
    put_all(saver, a=of_a, b=of_b, old="b")
    put(saver, "z", "b", COUNTED)
    write(saver, "log", "a", "b")
    before = saver.get_delta_channel_history(config=thread("1"), channels=["log"])
    saver.prune(["1"])
    assert ids(conn) == list(kept)
    assert saver.get_delta_channel_history(config=thread("1"), channels=["log"]) == before


def test_a_chain_with_a_gap_ends_there(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    put(saver, "a", None, channel_values={"log": ["whole"]})
    put(saver, "c", "gone")
    put(saver, "d", "c", COUNTED)
    write(saver, "log", "a", "c")
    saver.prune(["1"])
    assert ids(conn) == ["c", "d"]


def test_a_counted_channel_that_nobody_wrote_keeps_nothing(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    put_all(saver, a=None, b="a")
    put(saver, "c", "b", COUNTED)
    write(saver, "other", "a")
    write(saver, "log", "c")
    saver.prune(["1"])
    assert ids(conn) == ["c"]


def test_a_counted_channel_that_the_head_holds_keeps_nothing(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    put_all(saver, a=None, b="a")
    put(saver, "c", "b", COUNTED, channel_values={"log": ["whole"]})
    write(saver, "log", "a", "b")
    saver.prune(["1"])
    assert ids(conn) == ["c"]


def test_of_two_channels_the_longer_chain_is_kept(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    counted = {"counters_since_delta_snapshot": {"log": [1, 1], "rare": [2, 3], "never": [0, 9]}}
    put(saver, "a", None, channel_values={"log": [], "rare": []})
    put(saver, "b", "a", channel_values={"rare": ["whole"]})
    put(saver, "c", "b")
    put(saver, "d", "c", channel_values={"log": ["whole"]})
    put(saver, "e", "d", counted)
    saver.prune(["1"])
    assert ids(conn) == ["b", "c", "d", "e"]


def test_a_file_without_task_paths_is_migrated_and_pruned(path: Path) -> None:
    execute(path, "ALTER TABLE writes DROP COLUMN task_path")
    sync(path, "prune", ["nested", "trip, done"])
    assert rows(path, "nested").sizes == KEPT["nested"][0]
    assert {row[3] for row in rows(path, "nested").writes} == {""}


def test_an_encrypted_thread_is_pruned(conn: sqlite3.Connection) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"sixteen bytes ok")
    saver = SqliteSaver(conn, serde=serde)
    shape = SHAPES["delta, forked"]
    shape.begin(shape.build(saver), thread("1"))
    before = view(shape.build(saver), thread("1"))
    saver.prune(["1"])
    assert view(shape.build(saver), thread("1")) == before
    assert len(ids(conn)) < 10


def test_a_wrong_key_leaves_the_thread_whole(conn: sqlite3.Connection) -> None:
    keys = (b"sixteen bytes ok", b"sixteen bytes no")
    right, wrong = (
        SqliteSaver(conn, serde=EncryptedSerializer.from_pycryptodome_aes(key=key)) for key in keys
    )
    shape = SHAPES["delta 100"]
    shape.begin(shape.build(right), thread("1"))
    before = rows(conn, "1")
    with pytest.raises(ValueError, match="MAC check failed"):
        wrong.prune(["1"])
    assert rows(conn, "1") == before


# A run that goes on meanwhile.


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("name", ["delta 2", "delta 100", "memory, done", "nested", "map", "joined"])
async def test_a_run_goes_on_while_its_thread_is_pruned(name: str, durability: Any, tmp_path: Path) -> None:
    shape, given = SHAPES[name], {"n": 10, "log": ["began"]}
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as conn:
        undisturbed = shape.build(SqliteSaver(conn))
        for _ in range(3):
            undisturbed.invoke(given, thread("1"))
        expected = undisturbed.get_state(thread("1")).values
    opening = AsyncSqliteSaver.from_conn_string
    async with opening(str(tmp_path / "s")) as saver, opening(str(tmp_path / "s")) as other:
        graph, prunes = shape.build(saver), 0
        for _ in range(3):
            run = asyncio.create_task(graph.ainvoke(given, thread("1"), durability=durability))
            while not run.done():
                await (saver, other)[prunes % 2].aprune(["1"])
                prunes += 1
            await run
        await saver.aprune(["1"])
        assert (await graph.aget_state(thread("1"))).values == expected
    assert prunes > 6
    kept = rows(tmp_path / "s", "1")
    assert kept.sizes[""] == 1 or name.startswith("delta")
    assert all(row[2] in (None, *(other[1] for other in kept.checkpoints)) for row in kept.checkpoints)


def test_a_delta_channel_survives_a_prune_after_a_run_of_a_graph_without_it(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    graph = delta(100)(saver)
    graph.invoke({"n": 0, "log": ["began"]}, thread("two releases"))
    counting(saver).invoke({"n": 5}, thread("two releases"))
    before = graph.get_state(thread("two releases")).values
    assert before["log"][0] == "began"
    saver.prune(["two releases"])
    assert graph.get_state(thread("two releases")).values == before


def test_a_delta_channel_whose_first_write_has_no_version_is_kept(conn: sqlite3.Connection) -> None:
    """Early releases of LangGraph.js stored it so."""
    saver = SqliteSaver(conn)
    config: Any = {"configurable": {"thread_id": "js", "checkpoint_ns": ""}}
    for counted in ({}, {"log": [1, 1], "never": [0, 1]}):
        config = saver.put(config, empty_checkpoint(), {"counters_since_delta_snapshot": counted}, {})  # type: ignore[typeddict-item]
        saver.put_writes(config, [("log", [str(counted)])], "task")
    before = history(saver, "js")
    saver.prune(["js"])
    assert history(saver, "js") == before
    assert "log" in before
    assert len(rows(conn, "js").checkpoints) == 2
