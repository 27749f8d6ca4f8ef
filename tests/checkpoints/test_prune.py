"""Pruned threads: what is kept of them, what LangGraph sees in it, and how it goes on."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from backends import IN_POSTGRES, IN_SQLITE
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSqliteSaver
from thread_graphs import (
    ALL_WAYS,
    DELTAS,
    LIKELIEST,
    NOTHING,
    SHAPES,
    Rows,
    Threads,
    asynchronous,
    counting,
    delta,
    go_on,
    original,
    remembering,
    sync,
    thread,
    view,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends import Backend

FAILURE = (sqlite3.Error, psycopg.Error)
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
# There a second checkpoint refers to the same whole value.
KEPT_IN_POSTGRES: dict[str, tuple[dict[str, int], int]] = {"delta, begun by hand": ({"": 8}, 23)}


def sees(saver: Any, name: str) -> Any:
    return view(SHAPES[name].build(saver), thread(name))


def history(saver: Any, thread_id: str, checkpoint_ns: str = "") -> Any:
    """Return the DeltaChannels' history as LangGraph's own walk finds it."""
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}}
    return repr(BaseCheckpointSaver.get_delta_channel_history(saver, config=config, channels=DELTA_CHANNELS))


@pytest.mark.parametrize("name", SHAPES)
def test_the_head_is_what_it_was(name: str, threads: Threads) -> None:
    before = sees(threads.official, name)
    memory = history(threads.official, name, "memory")
    threads.ours.prune([name])
    assert sees(threads.ours, name) == sees(threads.official, name) == before
    assert history(threads.official, name, "memory") == memory


@pytest.mark.parametrize(("name", "way"), ALL_WAYS)
def test_a_pruned_thread_goes_on_as_one_that_is_not(name: str, way: str, threads: Threads) -> None:
    threads.ours.prune([name])
    assert go_on(name, way, threads.ours) == original(name, way)


@pytest.mark.parametrize(("name", "way"), LIKELIEST)
def test_the_official_saver_goes_on_with_it_too(name: str, way: str, threads: Threads) -> None:
    threads.ours.prune([name])
    assert go_on(name, way, threads.official) == original(name, way)


@pytest.mark.parametrize("name", DELTAS)
def test_a_thread_may_be_pruned_after_each_step(name: str, threads: Threads) -> None:
    """What is kept for one head is enough for those that follow it."""
    saver, way = threads.ours, dict(LIKELIEST)[name]
    put = saver.put

    def put_and_prune(*args: Any) -> Any:
        told = put(*args)
        saver.prune([name])
        return told

    saver.put = put_and_prune  # type: ignore[method-assign]
    saver.prune([name])
    assert go_on(name, way, saver) == original(name, way)


@pytest.mark.parametrize("call", CALLS)
def test_what_is_kept_is_kept_byte_for_byte_and_other_threads_are_left_alone(
    call: Any, threads: Threads
) -> None:
    pruned = [name for n, name in enumerate(SHAPES) if n % 2]
    before = {name: threads.rows(name) for name in SHAPES}
    call(threads, "prune", pruned)
    after = {name: threads.rows(name) for name in SHAPES}
    assert all(after[name] == before[name] for name in SHAPES if name not in pruned)
    for name in pruned:
        ids = {row[:2] for row in after[name].checkpoints}
        kept = [row for row in before[name].checkpoints if row[:2] in ids]
        assert after[name].writes == [row for row in before[name].writes if row[:2] in ids]
        assert [(row[:2], row[3:]) for row in after[name].checkpoints] == [(r[:2], r[3:]) for r in kept]
        for row, old in zip(after[name].checkpoints, kept, strict=True):
            assert row[2] == (old[2] if (old[0], old[2]) in ids else None)
        named = versions(after[name])
        assert after[name].blobs == [row for row in before[name].blobs if row[:3] in named]


def versions(rows: Rows) -> set[Any]:
    """Return the blobs that checkpoints refer to: namespace, channel, version."""
    return {
        (row[0], *each)
        for row in rows.checkpoints
        if isinstance(row[4], str)
        for each in json.loads(row[4])["channel_versions"].items()
    }


@pytest.mark.parametrize("name", KEPT)
def test_no_more_is_kept_than_the_head_needs(name: str, threads: Threads) -> None:
    threads.ours.prune([name])
    found = threads.rows(name)
    kept = KEPT | KEPT_IN_POSTGRES if threads.backend.name == "postgres" else KEPT
    assert (found.sizes, len(found.writes)) == kept[name]


@pytest.mark.parametrize("name", DELTAS)
def test_the_oldest_checkpoint_that_is_kept_is_needed(name: str, threads: Threads) -> None:
    threads.ours.prune([name])
    for checkpoint_ns in {row[0] for row in threads.rows(name).checkpoints}:
        kept = [row for row in threads.rows(name).checkpoints if row[0] == checkpoint_ns]
        before = history(threads.official, name, checkpoint_ns)
        for table in threads.backend.tables[:: len(threads.backend.tables) - 1] if len(kept) > 1 else ():
            sql = f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
            threads.execute(sql, name, *kept[0][:2])
        assert (history(threads.official, name, checkpoint_ns) != before) == (len(kept) > 1)


@pytest.mark.parametrize("call", CALLS)
def test_a_second_prune_changes_nothing(call: Any, threads: Threads) -> None:
    call(threads, "prune", [*SHAPES, *SHAPES])
    before = {name: threads.rows(name) for name in SHAPES}
    call(threads, "prune", list(SHAPES))
    assert {name: threads.rows(name) for name in SHAPES} == before


def test_a_memory_is_remembered_by_the_next_call(threads: Threads) -> None:
    saver = threads.ours
    for n in (1, 20, 300):
        told = remembering(saver).invoke({"n": n, "log": []}, thread("1"))
        saver.prune(["1"])
    assert told["log"][-1] == "n is 621"  # 321 in all, and a hundred for each of three lines
    assert threads.rows("1").sizes == {"": 1, "memory": 14}


def test_prune_delete_leaves_nothing(threads: Threads) -> None:
    saver = threads.ours
    saver.put_writes(at("map", "gone"), [("log", None)], "task")
    before = threads.rows("nested")
    saver.prune(["map", "delta 5", "map"], strategy="delete")
    assert threads.rows("map") == threads.rows("delta 5") == NOTHING
    assert threads.rows("nested") == before


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("strategy", ["keep_latest", "delete"])
def test_threads_that_do_not_exist_change_nothing(strategy: str, call: Any, threads: Threads) -> None:
    before = [threads.rows(name) for name in SHAPES]
    call(threads, "prune", [], strategy=strategy)
    call(threads, "prune", ["not there", "", "joine", "%", "%s"], strategy=strategy)
    assert [threads.rows(name) for name in SHAPES] == before


@pytest.mark.parametrize("call", CALLS)
def test_what_cannot_be_meant_is_refused(call: Any, threads: Threads) -> None:
    before = [threads.rows(name) for name in SHAPES]
    with pytest.raises(ValueError, match=r"'oldest'.*'keep_latest' and 'delete'"):
        call(threads, "prune", ["map"], strategy="oldest")
    for strategy in ("keep_latest", "delete"):
        with pytest.raises(TypeError, match="list of thread ids"):
            call(threads, "prune", "map", strategy=strategy)
    assert [threads.rows(name) for name in SHAPES] == before


@pytest.mark.parametrize("call", CALLS)
def test_a_thread_that_fails_stays_whole_and_those_before_it_stay_pruned(call: Any, threads: Threads) -> None:
    where = "OLD.thread_id = 'map, done' AND OLD.checkpoint_ns <> ''"
    threads.backend.fail(threads.place, "BEFORE DELETE", "checkpoints", where, "stuck")
    names = ["nested, done", "map, done", "resumed"]
    before = {name: threads.rows(name) for name in names}
    with pytest.raises(FAILURE, match="stuck"):
        call(threads, "prune", names)
    assert [threads.rows(name) == before[name] for name in names] == [False, True, True]
    assert len(threads.rows("nested, done").checkpoints) == 1


@pytest.mark.parametrize("thread_id", ["", "é'\"\\%_\n", "%s", "\U0001f600", 7])
def test_a_thread_id_may_be_any_text(thread_id: Any, threads: Threads) -> None:
    saver = threads.ours
    saver.copy_thread("delta, forked", thread_id)
    saver.prune([thread_id, "delta, forked"])
    assert threads.rows(str(thread_id)) == threads.rows("delta, forked")


# Rows that LangGraph of today does not write.


def at(thread_id: str, id: str | None, checkpoint_ns: str = "") -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": id}}


def put(saver: Any, id: str, parent: str | None, metadata: Any = None, **checkpoint: Any) -> None:
    versions = {"log": id, "rare": id}
    state = {**empty_checkpoint(), "id": id, "v": 4, "channel_versions": versions, **checkpoint}
    saver.put(at("1", parent), state, metadata or {}, versions)


def put_all(saver: Any, **parents: str | None) -> None:
    for id, parent in parents.items():
        put(saver, id, parent)


def write(saver: Any, channel: str, *ids: str) -> None:
    for id in ids:
        saver.put_writes(at("1", id), [(channel, f"written to {id}")], "task")


def ids(threads: Threads) -> list[str]:
    return [row[1] for row in threads.rows("1").checkpoints]


@pytest.mark.parametrize(("version", "kept"), [(1, ["b", "c"]), (3, ["b", "c"]), (4, ["c"]), (2**70, ["c"])])
def test_before_version_4_the_parent_that_has_the_sends_is_kept(
    version: int, kept: list[str], threads: Threads
) -> None:
    saver = threads.open(threads.backend.ours.sync, serde=Plain())
    put_all(saver, a=None, b="a")
    put(saver, "c", "b", v=version)
    write(saver, "__pregel_tasks", "a", "b", "c")
    saver.prune(["1"])
    assert ids(threads) == kept
    assert [row[1] for row in threads.rows("1").writes] == kept
    assert [row[2] for row in threads.rows("1").checkpoints] == [None, *kept[:-1]]


def test_before_version_4_a_parent_without_sends_goes(threads: Threads) -> None:
    saver = threads.ours
    put(saver, "a", None)
    put(saver, "b", "a", v=1)
    write(saver, "log", "a")
    saver.prune(["1"])
    assert ids(threads) == ["b"]


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
    root: str | None, namespace: str, stays: bool, threads: Threads
) -> None:
    saver = threads.ours
    put_all(saver, a=None, b="a")
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": namespace}}
    metadata: Any = {"parents": {"": root}} if root else {}
    stored = saver.put(config, {**empty_checkpoint(), "id": "a1"}, metadata, {})
    saver.put_writes(stored, [("log", "written")], "task")
    saver.prune(["1"])
    assert ids(threads) == ["b", *(["a1"] if stays else [])]
    assert len(threads.rows("1").writes) == stays


def test_calls_of_a_thread_without_a_root_stay(threads: Threads) -> None:
    saver = threads.ours
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "call:1"}}
    for id in ("a", "b"):
        saver.put(config, {**empty_checkpoint(), "id": id}, {"parents": {"": "gone"}}, {})
    saver.prune(["1"])
    assert ids(threads) == ["b"]


class Plain(JsonPlusSerializer):
    """A serializer of somebody else's, with a format of its own."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "plain", json.dumps(obj).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return json.loads(data[1])


COUNTED = {"counters_since_delta_snapshot": {"log": [1, 1]}}


SAYING_NOTHING = [
    "{}",
    "[]",
    "[1, {}]",
    '"text"',
    "7",
    "null",
    '{"counters_since_delta_snapshot": [1]}',
    '{"counters_since_delta_snapshot": {}}',
    '{"counters_since_delta_snapshot": null}',
    '{"counters_since_delta_snapshot": 7}',
    '{"parents": [1]}',
    '{"parents": {"": 1}}',
    '{"parents": null}',
]


def check_that_metadata_may_be(metadata: Any, threads: Threads) -> None:
    put_all(threads.ours, a=None, b="a")
    threads.execute("UPDATE checkpoints SET metadata = ? WHERE thread_id = '1'", metadata)
    threads.execute(
        "UPDATE checkpoints SET checkpoint_ns = 'call:1' WHERE thread_id = '1' AND checkpoint_id = 'a'"
    )
    threads.ours.prune(["1"])
    assert ids(threads) == ["b", "a"]


@pytest.mark.parametrize("metadata", SAYING_NOTHING)
def test_metadata_may_say_nothing(metadata: str, threads: Threads) -> None:
    check_that_metadata_may_be(metadata, threads)


@IN_SQLITE
@pytest.mark.parametrize("metadata", [None, '{"score": NaN}', b"{}"])
def test_in_sqlite_metadata_may_be_no_json(metadata: Any, threads: Threads) -> None:
    check_that_metadata_may_be(metadata, threads)


@IN_SQLITE
@pytest.mark.parametrize("metadata", ["{", "", b"\xff\xfe", "[" * 100_000])
def test_metadata_that_cannot_be_read_fails_its_thread_and_leaves_it_whole(
    metadata: Any, threads: Threads
) -> None:
    saver = threads.ours
    put_all(saver, a=None, b="a")
    threads.execute(
        "UPDATE checkpoints SET metadata = ? WHERE thread_id = '1' AND checkpoint_id = 'b'", metadata
    )
    before = threads.rows("1"), threads.rows("map, done"), threads.rows("resumed")
    with pytest.raises((ValueError, RecursionError)):
        saver.prune(["map, done", "1", "resumed"])
    assert (threads.rows("1"), threads.rows("resumed")) == before[::2]
    assert threads.rows("map, done") != before[1]
    put(saver, "c", "b")  # it still writes
    assert ids(threads) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("of_a", "of_b", "kept"),
    [("b", "a", "abz"), ("z", "a", "abz"), (None, "b", "bz"), ("a", "z", "bz")],
)
def test_parents_that_loop_end_the_chain(of_a: str | None, of_b: str, kept: str, threads: Threads) -> None:
    saver = threads.ours
    put_all(saver, a=of_a, b=of_b, old="b")
    put(saver, "z", "b", COUNTED)
    write(saver, "log", "a", "b")
    before = saver.get_delta_channel_history(config=thread("1"), channels=["log"])
    saver.prune(["1"])
    assert ids(threads) == list(kept)
    assert saver.get_delta_channel_history(config=thread("1"), channels=["log"]) == before


def test_a_chain_with_a_gap_ends_there(threads: Threads) -> None:
    saver = threads.ours
    put(saver, "a", None, channel_values={"log": ["whole"]})
    put(saver, "c", "gone")
    put(saver, "d", "c", COUNTED)
    write(saver, "log", "a", "c")
    saver.prune(["1"])
    assert ids(threads) == ["c", "d"]


def test_a_counted_channel_that_nobody_wrote_keeps_nothing(threads: Threads) -> None:
    saver = threads.ours
    put_all(saver, a=None, b="a")
    put(saver, "c", "b", COUNTED)
    write(saver, "other", "a")
    write(saver, "log", "c")
    saver.prune(["1"])
    assert ids(threads) == ["c"]


def test_a_counted_channel_that_the_head_holds_keeps_nothing(threads: Threads) -> None:
    saver = threads.ours
    put_all(saver, a=None, b="a")
    put(saver, "c", "b", COUNTED, channel_values={"log": ["whole"]})
    write(saver, "log", "a", "b")
    saver.prune(["1"])
    assert ids(threads) == ["c"]


def test_of_two_channels_the_longer_chain_is_kept(threads: Threads) -> None:
    saver = threads.ours
    counted = {"counters_since_delta_snapshot": {"log": [1, 1], "rare": [2, 3], "never": [0, 9]}}
    put(saver, "a", None, channel_values={"log": [], "rare": []})
    put(saver, "b", "a", channel_values={"rare": ["whole"]})
    put(saver, "c", "b")
    put(saver, "d", "c", channel_values={"log": ["whole"]})
    put(saver, "e", "d", counted)
    saver.prune(["1"])
    assert ids(threads) == ["b", "c", "d", "e"]


def test_a_store_without_task_paths_is_migrated_and_pruned(threads: Threads) -> None:
    threads.execute(f"ALTER TABLE {threads.backend.tables[-1]} DROP COLUMN task_path")
    if threads.backend.name == "postgres":
        threads.execute("DELETE FROM checkpoint_migrations WHERE v > 8")
    sync(threads, "prune", ["nested", "trip, done"])
    assert threads.rows("nested").sizes == KEPT["nested"][0]
    assert {row[3] for row in threads.rows("nested").writes} == {""}


def test_an_encrypted_thread_is_pruned(threads: Threads) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"sixteen bytes ok")
    saver = threads.open(threads.backend.ours.sync, serde=serde)
    shape = SHAPES["delta, forked"]
    shape.begin(shape.build(saver), thread("1"))
    before = view(shape.build(saver), thread("1"))
    saver.prune(["1"])
    assert view(shape.build(saver), thread("1")) == before
    assert len(ids(threads)) < 10


@IN_SQLITE
def test_a_wrong_key_leaves_the_thread_whole(threads: Threads) -> None:
    keys = (b"sixteen bytes ok", b"sixteen bytes no")
    right, wrong = (
        threads.open(threads.backend.ours.sync, serde=EncryptedSerializer.from_pycryptodome_aes(key=key))
        for key in keys
    )
    shape = SHAPES["delta 100"]
    shape.begin(shape.build(right), thread("1"))
    before = threads.rows("1")
    with pytest.raises(ValueError, match="MAC check failed"):
        wrong.prune(["1"])
    assert threads.rows("1") == before


@IN_POSTGRES
def test_in_postgres_no_key_is_needed_to_prune(threads: Threads) -> None:
    keys = (b"sixteen bytes ok", b"sixteen bytes no")
    right, other = (
        threads.open(threads.backend.ours.sync, serde=EncryptedSerializer.from_pycryptodome_aes(key=key))
        for key in keys
    )
    shape = SHAPES["delta, forked"]
    shape.begin(shape.build(right), thread("1"))
    before = view(shape.build(right), thread("1"))
    other.prune(["1"])
    assert view(shape.build(right), thread("1")) == before
    assert len(ids(threads)) < 10


# A run that goes on meanwhile.


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("name", ["delta 2", "delta 100", "memory, done", "nested", "map", "joined"])
async def test_a_run_goes_on_while_its_thread_is_pruned(
    name: str, durability: Any, backend: Backend, empty: Threads
) -> None:
    shape, given = SHAPES[name], {"n": 10, "log": ["began"]}
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as conn:
        undisturbed = shape.build(OfficialSqliteSaver(conn))
        for _ in range(3):
            undisturbed.invoke(given, thread("1"))
        expected = undisturbed.get_state(thread("1")).values
    build = backend.ours.aio
    async with backend.aopen(empty.place, build) as saver, backend.aopen(empty.place, build) as other:
        graph, prunes = shape.build(saver), 0
        for _ in range(3):
            run = asyncio.create_task(graph.ainvoke(given, thread("1"), durability=durability))
            while not run.done():
                await (saver, other)[prunes % 2].aprune(["1"])
                prunes += 1
            await run
        await saver.aprune(["1"])
        assert (await graph.aget_state(thread("1"))).values == expected
    assert prunes >= 3, "each run was pruned while it ran"
    kept = empty.rows("1")
    assert kept.sizes[""] == 1 or name.startswith("delta")
    assert all(row[2] in (None, *(other[1] for other in kept.checkpoints)) for row in kept.checkpoints)


@IN_POSTGRES
@pytest.mark.parametrize("name", [name for name in SHAPES if name not in DELTAS])
def test_what_the_official_saver_keeps_of_a_thread_is_what_ours_keeps(
    name: str, threads: Threads, shapes: Any, new_store: Callable[[], str]
) -> None:
    """Of those without DeltaChannels, which it refuses."""
    other = new_store()
    threads.backend.fill(other, shapes)
    threads.ours.prune([name])
    with threads.backend.open(other, threads.backend.official.sync) as official:
        official.prune([name])
    assert threads.backend.raw(other) == threads.everything()


@IN_POSTGRES
@pytest.mark.parametrize("name", DELTAS)
def test_the_official_saver_refuses_threads_with_delta_channels(name: str, threads: Threads) -> None:
    """Which ours prunes. When this fails, it has learned it."""
    with pytest.raises(NotImplementedError):
        threads.official.prune([name])


def test_a_delta_channel_survives_a_prune_after_a_run_of_a_graph_without_it(threads: Threads) -> None:
    saver = threads.ours
    graph = delta(100)(saver)
    graph.invoke({"n": 0, "log": ["began"]}, thread("two releases"))
    counting(saver).invoke({"n": 5}, thread("two releases"))
    before = graph.get_state(thread("two releases")).values
    assert before["log"][0] == "began"
    saver.prune(["two releases"])
    assert graph.get_state(thread("two releases")).values == before


def test_a_delta_channel_whose_first_write_has_no_version_is_kept(threads: Threads) -> None:
    """Early releases of LangGraph.js stored it so."""
    saver = threads.ours
    config: Any = {"configurable": {"thread_id": "js", "checkpoint_ns": ""}}
    for counted in ({}, {"log": [1, 1], "never": [0, 1]}):
        config = saver.put(config, empty_checkpoint(), {"counters_since_delta_snapshot": counted}, {})  # type: ignore[typeddict-item]
        saver.put_writes(config, [("log", [str(counted)])], "task")
    before = history(saver, "js")
    saver.prune(["js"])
    assert history(saver, "js") == before
    assert "log" in before
    assert len(threads.rows("js").checkpoints) == 2
