"""Forks into new threads: all that a checkpoint is made of, and how a graph goes on there."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from copies import in_order
from langgraph.types import Command
from test_forking import address, all_of
from thread_graphs import LIKELIEST, SHAPES, Executions, Threads, go_on, thread
from thread_graphs import original as untouched

from checkpoints.errors import CheckpointNotFound, ForkRefused, ThreadExists
from checkpoints.forking import afork_thread, fork, fork_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

NEW = "the fork"


def seen(graph: Any, at: Any, *, subgraphs: bool) -> str:
    """Return what LangGraph says of a checkpoint, but of which thread it is."""
    state = graph.get_state(at, subgraphs=subgraphs)
    return in_order(state).replace(repr(at["configurable"]["thread_id"]), "THREAD")


def history(graph: Any, at: Any) -> list[str]:
    """Return what LangGraph says of a checkpoint and of those before it on its branch."""
    name = repr(at["configurable"]["thread_id"])
    states = {state.config["configurable"]["checkpoint_id"]: state for state in graph.get_state_history(at)}
    found, id = [], at["configurable"].get("checkpoint_id", max(states))
    while id in states:
        found.append(in_order(states[id]).replace(name, "THREAD"))
        parent = states[id].parent_config
        id = parent["configurable"]["checkpoint_id"] if parent else None
    return found


@pytest.mark.parametrize("name", SHAPES)
def test_langgraph_sees_the_same_in_a_fork_of_any_checkpoint(name: str, threads: Threads) -> None:
    graph = SHAPES[name].build(threads.official)
    for number, (ns, id) in enumerate(list(all_of(threads, name))):
        if ns:
            continue
        forked = fork_thread(threads.place, name, f"{NEW} {number}", id)
        assert (forked.thread_id, forked.checkpoint_id) == (f"{NEW} {number}", id)
        assert threads.official.get_tuple(address(forked.thread_id)).checkpoint["id"] == id
        copy, original = address(forked.thread_id, id), address(name, id)
        # Of a subgraph with a memory LangGraph shows the newest state, whenever it was called.
        whole = {"subgraphs": "memory" not in name}
        assert seen(graph, copy, **whole) == seen(graph, original, **whole)
        assert history(graph, copy) == history(graph, original)


@pytest.mark.parametrize(("name", "way"), LIKELIEST)
def test_a_graph_goes_on_with_a_forked_head_as_with_the_thread_itself(
    name: str, way: str, threads: Threads
) -> None:
    fork_thread(threads.place, name, NEW)
    assert go_on(name, way, threads.official, NEW) == untouched(name, way)


@pytest.mark.parametrize("name", SHAPES)
def test_rows_are_copied_byte_for_byte_and_the_source_stays(name: str, threads: Threads) -> None:
    before = threads.rows(name)
    forked = fork_thread(threads.place, name, NEW)
    assert threads.rows(name) == before
    copy = threads.rows(NEW)
    for mine, theirs in zip(copy, before, strict=True):
        assert [row for row in mine if row not in theirs] == []
    counts = {"checkpoints": copy.checkpoints, "writes": copy.writes, "checkpoint_writes": copy.writes}
    counts["checkpoint_blobs"] = copy.blobs
    assert {table: size.rows for table, size in forked.tables.items()} == {
        table: len(counts[table]) for table in forked.tables
    }
    assert set(forked.namespaces) == {row[0] for row in copy.checkpoints}


def test_a_branch_is_forked_without_the_others(threads: Threads) -> None:
    name = "joined, forked"
    links = {row[1]: row[2] for row in threads.rows(name).checkpoints}
    for tip in set(links) - set(links.values()):
        fork_thread(threads.place, name, tip, tip)
        assert {row[1] for row in threads.rows(tip).checkpoints} == set(ancestry(links, tip))


def ancestry(links: dict[str, str | None], id: str | None) -> Iterable[str]:
    while id:
        yield id
        id = links.get(id)


@pytest.mark.parametrize(
    ("name", "again"),
    [("interrupt", {"ask": 1, "ship": 1}), ("fan-out", {"work": 1, "collect": 1})],
)
def test_an_interrupt_waits_for_the_same_answer_and_nothing_runs_again(
    name: str, again: dict[str, int], threads: Threads
) -> None:
    graph, executions = SHAPES[name].build(threads.official), Executions()
    asked = graph.get_state(thread(name)).interrupts
    fork_thread(threads.place, name, NEW)
    assert graph.get_state(thread(NEW)).interrupts == asked
    answers = {each.id: "yes" for each in asked}
    graph.invoke(Command(resume=answers), thread(NEW, callbacks=[executions]))
    assert dict(executions.counts) == again
    assert graph.get_state(thread(name)).interrupts == asked


def test_a_fork_from_before_leaves_later_calls_of_a_subgraph_behind(threads: Threads) -> None:
    graph = SHAPES["memory, done"].build(threads.official)
    history = [s for s in graph.get_state_history(thread("memory, done")) if not s.next]
    assert len(history) == 3
    for number, state in enumerate(reversed(history), 1):
        fork_thread(
            threads.place,
            "memory, done",
            f"{NEW} {number}",
            state.config["configurable"]["checkpoint_id"],
        )
        memory = threads.official.get_tuple(address(f"{NEW} {number}", ns="memory"))
        assert len(memory.checkpoint["channel_values"]["memory"]) == number
        calls = {ns for ns, _ in all_of(threads, f"{NEW} {number}") if ns.startswith("memory|call:")}
        assert len(calls) == number


@pytest.mark.parametrize(
    "name", ["nested", "nested, done", "map", "map, done", "memory, asking", "trip, done"]
)
def test_a_checkpoint_of_a_subgraph_takes_the_graphs_around_it_along(name: str, threads: Threads) -> None:
    graph = SHAPES[name].build(threads.official)
    for number, (ns, id) in enumerate(list(all_of(threads, name))):
        if not ns:
            continue
        new = f"{NEW} {number}"
        fork_thread(threads.place, name, new, id, ns)
        parents = threads.official.get_tuple(address(name, id, ns)).metadata["parents"]
        assert threads.official.get_tuple(address(new, ns=ns)).checkpoint["id"] == id
        for outer, at in parents.items():
            assert threads.official.get_tuple(address(new, ns=outer)).checkpoint["id"] == at
        assert graph.get_state(address(new), subgraphs=True)


def test_a_subgraph_goes_on_from_the_middle_of_a_finished_call(threads: Threads) -> None:
    graph, executions = SHAPES["nested, done"].build(threads.official), Executions()
    rows = sorted(threads.rows("nested, done").checkpoints, key=lambda row: row[1])
    middle = [row[:2] for row in rows if row[0] and "|" not in row[0]]
    ns, id = middle[0]  # the input of the first call of the middle graph
    fork_thread(threads.place, "nested, done", NEW, id, ns)
    state = graph.get_state(thread(NEW), subgraphs=True)
    assert state.next == ("middle",)
    assert not state.interrupts
    graph.invoke(None, thread(NEW, callbacks=[executions]))
    assert executions.counts["leaf"] == 1
    assert [asked.value for asked in graph.get_state(thread(NEW), subgraphs=True).interrupts] == ["go on?"]


def test_a_taken_thread_is_refused_and_not_touched(threads: Threads) -> None:
    before = threads.everything()
    for table in ("checkpoints", "writes" if threads.backend.name == "sqlite" else "checkpoint_writes"):
        assert before[table]
    with pytest.raises(ThreadExists, match="There is a thread 'joined' already"):
        fork_thread(threads.place, "interrupt", "joined")
    with pytest.raises(ThreadExists):
        fork_thread(threads.place, "interrupt", "interrupt")
    assert threads.everything() == before


def test_of_several_forks_to_one_id_exactly_one_wins(threads: Threads) -> None:
    with ThreadPoolExecutor(6) as pool:
        forks = [pool.submit(fork_thread, threads.place, "delta 2", NEW) for _ in range(6)]
        errors = sorted(type(each.exception()).__name__ for each in forks)
    assert errors == ["NoneType", *["ThreadExists"] * 5]
    assert threads.rows(NEW) == fresh(threads)


def fresh(threads: Threads) -> Any:
    fork_thread(threads.place, "delta 2", "alone")
    return threads.rows("alone")


@pytest.mark.parametrize("thread_id", ["", " ", "é'\"\\%s\n", "x" * 2000, "\U0001f600", "a/../b?c#d", "-x"])
def test_any_text_is_a_thread_id(thread_id: str, threads: Threads) -> None:
    fork_thread(threads.place, "interrupt", thread_id)
    assert threads.rows(thread_id) == threads.rows("interrupt")


def test_a_fork_of_a_fork_has_its_lineage_and_not_that_of_its_sibling(threads: Threads) -> None:
    before = threads.rows("interrupt").checkpoints
    forked = fork(threads.place, "interrupt")
    fork_thread(threads.place, "interrupt", NEW)
    ids = sorted(row[1] for row in threads.rows(NEW).checkpoints)
    assert ids == [*sorted(row[1] for row in before)[:-1], forked.checkpoint_id]
    assert SHAPES["interrupt"].build(threads.official).get_state(thread(NEW)).next == ("ask",)


def test_links_that_loop_or_dangle_end_the_chain(threads: Threads) -> None:
    ids = sorted(row[1] for row in threads.rows("joined").checkpoints)
    threads.execute("UPDATE checkpoints SET parent_checkpoint_id = ? WHERE checkpoint_id = ?", ids[5], ids[3])
    forked = fork_thread(threads.place, "joined", NEW, ids[6])
    assert sorted(row[1] for row in threads.rows(NEW).checkpoints) == ids[3:7]
    threads.execute("UPDATE checkpoints SET parent_checkpoint_id = 'gone' WHERE checkpoint_id = ?", ids[3])
    fork_thread(threads.place, "joined", "dangling", ids[4])
    assert sorted(row[1] for row in threads.rows("dangling").checkpoints) == ids[3:5]
    assert forked.tables["checkpoints"].rows == 4


def test_what_is_not_there_or_no_text_is_refused(threads: Threads) -> None:
    with pytest.raises(CheckpointNotFound):
        fork_thread(threads.place, "interrupt", NEW, "1ffe0000-0000-6000-8000-000000000000")
    for odd in ("a\0b", "\udcff"):
        with pytest.raises(ForkRefused):
            fork_thread(threads.place, "interrupt", odd)
    assert threads.rows(NEW).checkpoints == []


async def test_the_asynchronous_twin_does_the_same(threads: Threads) -> None:
    await afork_thread(threads.place, "nested", NEW)
    assert threads.rows(NEW) == await asyncio.to_thread(threads.rows, "nested")


def test_old_tables_without_task_paths_are_written_as_they_are(threads: Threads) -> None:
    table = "writes" if threads.backend.name == "sqlite" else "checkpoint_writes"
    threads.execute(f"ALTER TABLE {table} DROP COLUMN task_path")
    fork_thread(threads.place, "interrupt", NEW)
    fork(threads.place, "interrupt")
    columns = f"SELECT * FROM {table} WHERE thread_id = ?"
    assert re.sub(NEW, "interrupt", repr(sorted(threads.execute(columns, NEW)))) == repr(
        sorted(threads.execute(columns, "interrupt"))
    )
