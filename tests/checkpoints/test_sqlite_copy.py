"""Copies of threads: the rows, what LangGraph sees in them, and how it goes on with them."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.types import Command
from thread_graphs import (
    LIKELIEST,
    SHAPES,
    Executions,
    Rows,
    asynchronous,
    execute,
    go_on,
    original,
    rows,
    store,
    sync,
    thread,
    view,
    written,
)

from checkpoints.errors import ThreadExists, ThreadNotFound
from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from pathlib import Path

TABLES = ("checkpoints", "writes")
CALLS = [sync, asynchronous]
ODD = ["", " ", "é'\"\\%_\n", "x" * 5000, "1\x002", "\U0001f600", "a:b|c", "None", "*"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a thread of each shape."""
    (tmp_path / "store").write_bytes(written())
    return tmp_path / "store"


def of(name: str) -> str:
    return f"copy of {name}"


def everything(path: Path) -> list[Any]:
    return [execute(path, f"SELECT * FROM {table} ORDER BY rowid") for table in TABLES]


@pytest.mark.parametrize("call", CALLS)
def test_a_copy_has_the_rows_of_its_source_and_nothing_else_changes(call: Any, path: Path) -> None:
    before = everything(path)
    for name in SHAPES:
        call(path, "copy_thread", name, of(name))
    for name in SHAPES:
        assert rows(path, of(name)) == rows(path, name)
    copies = [[row for row in table if row[0].startswith("copy of")] for table in everything(path)]
    assert [
        [row for row in table if not row[0].startswith("copy of")] for table in everything(path)
    ] == before
    assert [len(table) for table in copies] == [len(table) for table in before]


@pytest.mark.parametrize("name", SHAPES)
def test_langgraph_sees_in_a_copy_what_it_sees_in_the_source(name: str) -> None:
    with store() as conn:
        SqliteSaver(conn).copy_thread(name, of(name))
        for saver in (SqliteSaver(conn), OfficialSaver(conn)):
            expected, found = (seen(saver, name, thread_id) for thread_id in (name, of(name)))
            assert found == expected


def seen(saver: Any, name: str, thread_id: str) -> str:
    graph, config = SHAPES[name].build(saver), thread(thread_id)
    told = repr((view(graph, config), list(graph.get_state_history(config))))
    assert repr(thread_id) in told
    return told.replace(repr(thread_id), "ID")


@pytest.mark.parametrize("opens", [SqliteSaver, OfficialSaver], ids=["ours", "official"])
@pytest.mark.parametrize(("name", "way"), LIKELIEST)
def test_a_copy_goes_on_as_the_original_and_leaves_it_alone(name: str, way: str, opens: Any) -> None:
    """The same results, states and numbers of node runs: nothing that had finished runs again."""
    with store() as conn:
        before = rows(conn, name)
        SqliteSaver(conn).copy_thread(name, of(name))
        assert go_on(name, way, opens(conn), of(name)) == original(name, way)
        assert rows(conn, name) == before


def test_an_interrupt_of_a_copy_is_answered_by_the_id_that_it_has_in_the_source(path: Path) -> None:
    sync(path, "copy_thread", "fan-out", of("fan-out"))
    executions = Executions()
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = SHAPES["fan-out"].build(saver)
        [asked] = graph.get_state(thread("fan-out")).interrupts
        assert graph.get_state(thread(of("fan-out"))).interrupts == (asked,)
        told = graph.invoke(Command(resume={asked.id: "yes"}), thread(of("fan-out"), callbacks=[executions]))
    assert told["log"] == ["plan", "work 0", "work 1", "work 2", "collected"]
    assert executions.counts == {"work": 1, "collect": 1}  # the two that had not asked do not run again


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("target", ["agent with tools", "resumed", "only writes"])
def test_a_taken_target_is_refused_and_nothing_is_written(target: str, call: Any, path: Path) -> None:
    execute(path, "INSERT INTO writes VALUES ('only writes', '', '1', 'task', '', 0, 'log', 'null', '')")
    before = everything(path)
    with pytest.raises(ThreadExists, match=f"'{target}'"):
        call(path, "copy_thread", "agent with tools", target)
    assert everything(path) == before


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("source", ["not there", "agent", "agent%", ""])
def test_a_missing_source_is_refused_and_nothing_is_written(source: str, call: Any, path: Path) -> None:
    before = everything(path)
    with pytest.raises(ThreadNotFound, match=f"'{source}'"):
        call(path, "copy_thread", source, "copy")
    assert everything(path) == before


@pytest.mark.parametrize("call", CALLS)
def test_a_store_without_tables_has_no_thread_to_copy(call: Any, tmp_path: Path) -> None:
    with pytest.raises(ThreadNotFound):
        call(tmp_path / "new", "copy_thread", "1", "2")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("target", ODD)
def test_ids_may_be_any_text(target: str, call: Any, path: Path) -> None:
    call(path, "copy_thread", "nested", target)
    call(path, "copy_thread", target, "back")
    assert rows(path, target) == rows(path, "back") == rows(path, "nested")


def test_a_number_is_taken_for_its_text_as_in_a_config(path: Path) -> None:
    sync(path, "copy_thread", "agent with tools", 7)
    sync(path, "copy_thread", 7, "8")
    assert rows(path, "8") == rows(path, "agent with tools")


def test_writes_without_a_checkpoint_are_copied(path: Path) -> None:
    execute(
        path, "INSERT INTO writes VALUES ('only writes', 'ns', '1', 'task', '~', 0, 'log', 'null', x'00ff')"
    )
    sync(path, "copy_thread", "only writes", "copy")
    assert rows(path, "copy") == Rows([], [("ns", "1", "task", "~", 0, "log", "null", b"\x00\xff")])


def test_a_file_without_task_paths_is_migrated_and_copied(path: Path) -> None:
    execute(path, "ALTER TABLE writes DROP COLUMN task_path")
    sync(path, "copy_thread", "nested", "copy")
    assert rows(path, "copy") == rows(path, "nested")
    assert {row[3] for row in rows(path, "copy").writes} == {""}


@pytest.mark.parametrize("call", CALLS)
def test_a_copy_that_fails_leaves_nothing(call: Any, path: Path) -> None:
    execute(
        path,
        """CREATE TRIGGER full AFTER INSERT ON writes WHEN NEW.thread_id = 'copy' AND NEW.channel = 'log'
        BEGIN SELECT RAISE(ABORT, 'no room'); END""",
    )
    before = everything(path)
    with pytest.raises(sqlite3.IntegrityError, match="no room"):
        call(path, "copy_thread", "nested, done", "copy")
    assert everything(path) == before


async def test_of_copies_at_once_to_one_id_exactly_one_wins(path: Path) -> None:
    sources = ["agent with tools", "nested", "map", "delta 5", "memory, done"]
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        copies = [saver.acopy_thread(source, "copy") for source in sources]
        results = await asyncio.gather(*copies, return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [ThreadExists] * 4
    assert rows(path, "copy") == rows(path, sources[results.index(None)])


def test_of_connections_that_copy_at_once_exactly_one_wins(path: Path) -> None:
    def copy(source: str) -> bool:
        try:
            sync(path, "copy_thread", source, "copy")
        except ThreadExists:
            return False
        return True

    sources = ["agent with tools", "nested", "map", "delta 5", "memory, done", "trip"]
    with ThreadPoolExecutor(len(sources)) as pool:
        won = list(pool.map(copy, sources))
    assert sum(won) == 1
    assert rows(path, "copy") == rows(path, sources[won.index(True)])


COPY = """
import sys
from checkpoints.sqlite import SqliteSaver
from checkpoints.errors import ThreadExists

with SqliteSaver.from_conn_string(sys.argv[1]) as saver:
    print("ready", flush=True)
    sys.stdin.readline()
    won = 0
    for n in range(30):
        try:
            saver.copy_thread(sys.argv[2], f"copy {n}")
        except ThreadExists:
            continue
        won += 1
print(won)
"""


def test_of_processes_that_copy_at_once_exactly_one_wins_each_id(path: Path) -> None:
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    sources = ["delta 5", "memory, done"]
    processes = [subprocess.Popen([sys.executable, "-c", COPY, path, name], **pipes) for name in sources]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    told = [process.communicate("go\n", timeout=30)[0] for process in processes]
    assert sum(map(int, told)) == 30
    expected = [rows(path, name) for name in sources]
    assert all(rows(path, f"copy {n}") in expected for n in range(30))


async def test_a_refused_copy_does_not_fail_what_is_written_beside_it(path: Path) -> None:
    new: Any = {"configurable": {"thread_id": "new", "checkpoint_ns": ""}}
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        head = await saver.aget_tuple(thread("agent with tools"))
        put = saver.aput(new, head.checkpoint, {}, {})  # type: ignore[union-attr]
        copy = saver.acopy_thread("agent with tools", "nested")
        results = await asyncio.gather(put, copy, return_exceptions=True)
    assert [type(result) for result in results] == [dict, ThreadExists]
