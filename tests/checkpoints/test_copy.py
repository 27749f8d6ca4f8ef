"""Copies of threads: the rows, what LangGraph sees in them, and how it goes on with them."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from backends import EACH_KIND, IN_SQLITE
from langgraph.types import Command
from thread_graphs import (
    LIKELIEST,
    SHAPES,
    Executions,
    Threads,
    asynchronous,
    go_on,
    original,
    sync,
    thread,
    view,
)

from checkpoints.errors import ThreadExists, ThreadNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends import Backend

CALLS = [sync, asynchronous]
ODD = ["", " ", "é'\"\\%_\n", "x" * 2000, "\U0001f600", "a:b|c", "None", "*", "%s"]
FAILURE = (sqlite3.Error, psycopg.Error)


def of(name: str) -> str:
    return f"copy of {name}"


@pytest.mark.parametrize("call", CALLS)
def test_a_copy_has_the_rows_of_its_source_and_nothing_else_changes(call: Any, threads: Threads) -> None:
    before = threads.everything()
    for name in SHAPES:
        call(threads, "copy_thread", name, of(name))
    for name in SHAPES:
        assert threads.rows(of(name)) == threads.rows(name)
    for table, rows in threads.everything().items():
        copies = [row for row in rows if "copy of" in str(row[:2])]
        assert [row for row in rows if row not in copies] == before[table]
        assert len(copies) == len(before[table]) > 0


@pytest.mark.parametrize("name", SHAPES)
def test_langgraph_sees_in_a_copy_what_it_sees_in_the_source(name: str, threads: Threads) -> None:
    threads.ours.copy_thread(name, of(name))
    for saver in (threads.ours, threads.official):
        expected, found = (seen(saver, name, thread_id) for thread_id in (name, of(name)))
        assert found == expected


def seen(saver: Any, name: str, thread_id: str) -> str:
    graph, config = SHAPES[name].build(saver), thread(thread_id)
    told = repr((view(graph, config), list(graph.get_state_history(config))))
    assert repr(thread_id) in told
    return told.replace(repr(thread_id), "ID")


@pytest.mark.parametrize("opens", ["ours", "official"])
@pytest.mark.parametrize(("name", "way"), LIKELIEST)
def test_a_copy_goes_on_as_the_original_and_leaves_it_alone(
    name: str, way: str, opens: str, threads: Threads
) -> None:
    """The same results, states and numbers of node runs: nothing that had finished runs again."""
    before = threads.rows(name)
    threads.ours.copy_thread(name, of(name))
    assert go_on(name, way, getattr(threads, opens), of(name)) == original(name, way)
    assert threads.rows(name) == before


def test_an_interrupt_of_a_copy_is_answered_by_the_id_that_it_has_in_the_source(threads: Threads) -> None:
    threads.ours.copy_thread("fan-out", of("fan-out"))
    executions = Executions()
    graph = SHAPES["fan-out"].build(threads.ours)
    [asked] = graph.get_state(thread("fan-out")).interrupts
    assert graph.get_state(thread(of("fan-out"))).interrupts == (asked,)
    told = graph.invoke(Command(resume={asked.id: "yes"}), thread(of("fan-out"), callbacks=[executions]))
    assert told["log"] == ["plan", "work 0", "work 1", "work 2", "collected"]
    assert executions.counts == {"work": 1, "collect": 1}  # the two that had not asked do not run again


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("target", ["agent with tools", "resumed", "only writes"])
def test_a_taken_target_is_refused_and_nothing_is_written(target: str, call: Any, threads: Threads) -> None:
    only_writes(threads)
    before = threads.everything()
    with pytest.raises(ThreadExists, match=f"'{target}'"):
        call(threads, "copy_thread", "agent with tools", target)
    assert threads.everything() == before


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("source", ["not there", "agent", "agent%", ""])
def test_a_missing_source_is_refused_and_nothing_is_written(source: str, call: Any, threads: Threads) -> None:
    before = threads.everything()
    with pytest.raises(ThreadNotFound, match=f"'{source}'"):
        call(threads, "copy_thread", source, "copy")
    assert threads.everything() == before


def only_writes(threads: Threads) -> None:
    columns = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type"
    value = "value" if threads.backend.name == "sqlite" else "blob"
    insert = f"INSERT INTO {threads.backend.tables[-1]} ({columns}, {value})"
    values = ("only writes", "ns", "1", "task", "~", 0, "log", "null", b"\x00\xff")
    threads.execute(f"{insert} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *values)


@IN_SQLITE
@pytest.mark.parametrize("call", CALLS)
def test_a_file_without_tables_has_no_thread_to_copy(
    call: Any, backend: Backend, new_store: Callable[[], str]
) -> None:
    with ExitStack() as stack, pytest.raises(ThreadNotFound):
        call(Threads(backend, new_store(), stack), "copy_thread", "1", "2")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("target", ODD)
def test_ids_may_be_any_text(target: str, call: Any, threads: Threads) -> None:
    call(threads, "copy_thread", "nested", target)
    call(threads, "copy_thread", target, "back")
    assert threads.rows(target) == threads.rows("back") == threads.rows("nested")


def test_a_number_is_taken_for_its_text_as_in_a_config(threads: Threads) -> None:
    sync(threads, "copy_thread", "agent with tools", 7)
    sync(threads, "copy_thread", 7, "8")
    assert threads.rows("8") == threads.rows("agent with tools")


@IN_SQLITE
def test_in_sqlite_an_id_may_hold_nul(threads: Threads) -> None:
    sync(threads, "copy_thread", "nested", "1\x002")
    sync(threads, "copy_thread", "1\x002", "back")
    assert threads.rows("1\x002") == threads.rows("back") == threads.rows("nested")


def test_writes_without_a_checkpoint_are_copied(threads: Threads) -> None:
    only_writes(threads)
    sync(threads, "copy_thread", "only writes", "copy")
    assert threads.rows("copy") == ([], [("ns", "1", "task", "~", 0, "log", "null", b"\x00\xff")], [])


def test_a_store_without_task_paths_is_migrated_and_copied(threads: Threads) -> None:
    threads.execute(f"ALTER TABLE {threads.backend.tables[-1]} DROP COLUMN task_path")
    if threads.backend.name == "postgres":
        threads.execute("DELETE FROM checkpoint_migrations WHERE v > 8")
    sync(threads, "copy_thread", "nested", "copy")
    assert threads.rows("copy") == threads.rows("nested")
    assert {row[3] for row in threads.rows("copy").writes} == {""}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("table", [0, -1])
def test_a_copy_that_fails_leaves_nothing(table: int, call: Any, threads: Threads) -> None:
    where = "NEW.thread_id = 'copy'" if table == 0 else "NEW.thread_id = 'copy' AND NEW.channel = 'log'"
    backend = threads.backend
    backend.fail(threads.place, "AFTER INSERT", backend.tables[table], where, "no room")
    before = threads.everything()
    with pytest.raises(FAILURE, match="no room"):
        call(threads, "copy_thread", "nested, done", "copy")
    assert threads.everything() == before


@pytest.mark.parametrize(("backend", "kind"), EACH_KIND, indirect=["backend"])
async def test_of_copies_at_once_to_one_id_exactly_one_wins(kind: str, threads: Threads) -> None:
    sources = ["agent with tools", "nested", "map", "delta 5", "memory, done"]
    async with threads.backend.aopen(threads.place, threads.backend.ours.aio, kind) as saver:
        copies = [saver.acopy_thread(source, "copy") for source in sources]
        results = await asyncio.gather(*copies, return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [ThreadExists] * 4
    assert threads.rows("copy") == threads.rows(sources[results.index(None)])


def test_of_connections_that_copy_at_once_exactly_one_wins(threads: Threads) -> None:
    def copy(source: str) -> bool:
        try:
            sync(threads, "copy_thread", source, "copy")
        except ThreadExists:
            return False
        return True

    sources = ["agent with tools", "nested", "map", "delta 5", "memory, done", "trip"]
    with ThreadPoolExecutor(len(sources)) as pool:
        won = list(pool.map(copy, sources))
    assert sum(won) == 1
    assert threads.rows("copy") == threads.rows(sources[won.index(True)])


COPY = """
import sys
from backends import BACKENDS
from checkpoints.errors import ThreadExists

[backend] = [each for each in BACKENDS if each.name == sys.argv[1]]
with backend.open(sys.argv[2], backend.ours.sync) as saver:
    print("ready", flush=True)
    sys.stdin.readline()
    won = 0
    for n in range(30):
        try:
            saver.copy_thread(sys.argv[3], f"copy {n}")
        except ThreadExists:
            continue
        won += 1
print(won)
"""


def test_of_processes_that_copy_at_once_exactly_one_wins_each_id(threads: Threads) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    sources = ["delta 5", "memory, done"]
    command = [sys.executable, "-c", COPY, threads.backend.name, threads.place]
    processes = [subprocess.Popen([*command, name], **pipes) for name in sources]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    told = [process.communicate("go\n", timeout=30)[0] for process in processes]
    assert sum(map(int, told)) == 30
    expected = [threads.rows(name) for name in sources]
    assert all(threads.rows(f"copy {n}") in expected for n in range(30))


@pytest.mark.parametrize(("backend", "kind"), EACH_KIND, indirect=["backend"])
async def test_a_refused_copy_does_not_fail_what_is_written_beside_it(kind: str, threads: Threads) -> None:
    new: Any = {"configurable": {"thread_id": "new", "checkpoint_ns": ""}}
    async with threads.backend.aopen(threads.place, threads.backend.ours.aio, kind) as saver:
        head = await saver.aget_tuple(thread("agent with tools"))
        put = saver.aput(new, head.checkpoint, {}, {})
        copy = saver.acopy_thread("agent with tools", "nested")
        results = await asyncio.gather(put, copy, return_exceptions=True)
    assert [type(result) for result in results] == [dict, ThreadExists]


async def test_a_copy_of_a_thread_that_is_being_written_is_one_moment_of_it(threads: Threads) -> None:
    """Every checkpoint of the copy has its parent, and every value that it had."""
    async with (
        threads.backend.aopen(threads.place, threads.backend.ours.aio) as saver,
        threads.backend.aopen(threads.place, threads.backend.ours.aio) as other,
    ):
        graph = SHAPES["joined"].build(saver)

        async def go_on() -> None:
            for _ in range(10):
                await graph.ainvoke({"log": ["x"], "n": 1}, thread("joined"))

        run, n = asyncio.create_task(go_on()), 0
        while not run.done():
            await other.acopy_thread("joined", f"copy {n}")
            n += 1
        await run
        for copy in range(n):
            listed = [found async for found in other.alist(thread(f"copy {copy}"))]
            ids = {found.config["configurable"]["checkpoint_id"] for found in listed}
            parents = {each.parent_config["configurable"]["checkpoint_id"] for each in listed[:-1]}
            assert parents <= ids
            assert all("log" in found.checkpoint["channel_values"] for found in listed[:-2])
    assert n > 1
