"""Writing with our SQLite savers is all or nothing, alone, among others and in a caller's transaction."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver

from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver
from checkpoints.sqlite.driver import run, transaction
from checkpoints.statements import Operation, Statement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": "0"}}
NOT_SERIALIZABLE = [("a", 1), ("b", open), ("c", 3)]
NOT_STORABLE: Any = [("a", 1), (object(), 2), ("c", 3)]


def count(path: Path | str, table: str = "writes") -> int:
    with closing(sqlite3.connect(path)) as conn:
        return int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        saver.put_writes(HERE, [("first", 0)], "task-0")
    yield tmp_path / "store"
    with closing(sqlite3.connect(tmp_path / "store", timeout=0)) as conn:  # nobody kept a lock
        conn.execute("BEGIN EXCLUSIVE")


@pytest.mark.parametrize("writes", [NOT_SERIALIZABLE, NOT_STORABLE])
def test_a_write_that_fails_leaves_no_row(path: Path, writes: Any) -> None:
    with SqliteSaver.from_conn_string(str(path)) as saver:
        with pytest.raises((TypeError, sqlite3.Error)):
            saver.put_writes(HERE, writes, "task-1")
        assert count(path) == 1
        saver.put_writes(HERE, [("a", 1)], "task-2")
    assert count(path) == 2


@pytest.mark.parametrize("writes", [NOT_SERIALIZABLE, NOT_STORABLE])
async def test_an_async_write_that_fails_leaves_no_row(path: Path, writes: Any) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        with pytest.raises((TypeError, sqlite3.Error)):
            await saver.aput_writes(HERE, writes, "task-1")
        await saver.aput_writes(HERE, [("a", 1)], "task-2")
    assert count(path) == 2


def test_a_delete_that_fails_in_its_middle_deletes_nothing(path: Path) -> None:
    with SqliteSaver.from_conn_string(str(path)) as saver:
        saver.put(HERE, empty_checkpoint(), {}, {})
        saver.conn.execute(
            "CREATE TRIGGER keep BEFORE DELETE ON writes BEGIN SELECT RAISE(ABORT, 'kept'); END"
        )
        with pytest.raises(sqlite3.IntegrityError, match="kept"):
            saver.delete_thread("1")
    assert (count(path, "checkpoints"), count(path)) == (1, 1)


def test_an_operation_that_reads_before_it_writes_is_not_overtaken(path: Path) -> None:
    """A deferred transaction would fail with BUSY_SNAPSHOT here, without waiting."""

    def copy_first(other: sqlite3.Connection) -> Operation[None]:
        rows = yield Statement("SELECT * FROM writes")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("UPDATE writes SET channel = 'overtaken'")
        yield Statement("INSERT INTO writes SELECT ?, '', '', '', '', 0, ?, NULL, NULL", ("2", rows[0][6]))

    with closing(sqlite3.connect(path)) as conn, closing(sqlite3.connect(path, timeout=0)) as other:
        with transaction(conn):
            run(conn, copy_first(other))
        assert conn.execute("SELECT channel FROM writes").fetchall() == [("first",), ("first",)]


@pytest.mark.parametrize("isolation", ["", None, "EXCLUSIVE"])
def test_every_transaction_mode_of_a_connection_works(path: Path, isolation: Any) -> None:
    with closing(sqlite3.connect(path, isolation_level=isolation)) as conn:
        saver = SqliteSaver(conn)
        saver.put(HERE, empty_checkpoint(), {}, {})
        assert not conn.in_transaction
        assert count(path, "checkpoints") == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`autocommit` came with Python 3.12")
@pytest.mark.parametrize("autocommit", [True, False])
def test_every_autocommit_setting_of_a_connection_works(path: Path, autocommit: bool) -> None:
    with closing(sqlite3.connect(path, autocommit=autocommit)) as conn:
        SqliteSaver(conn).put(HERE, empty_checkpoint(), {}, {})
        assert count(path, "checkpoints") == 1


@pytest.mark.parametrize("saver_type", [OfficialSaver, SqliteSaver])
def test_a_transaction_of_the_owner_is_committed_with_ours(path: Path, saver_type: Any) -> None:
    with saver_type.from_conn_string(str(path)) as saver:
        saver.conn.execute("CREATE TABLE notes (note)")
        saver.setup()
        saver.conn.execute("INSERT INTO notes VALUES ('mine')")
        assert saver.conn.in_transaction
        saver.put_writes(HERE, [("a", 1)], "task-1")
        assert not saver.conn.in_transaction
    assert (count(path, "notes"), count(path)) == (1, 2)


def test_an_error_of_ours_leaves_the_transaction_of_the_owner_open(path: Path) -> None:
    with SqliteSaver.from_conn_string(str(path)) as saver:
        saver.setup()
        saver.conn.execute("UPDATE writes SET channel = 'mine'")
        with pytest.raises(sqlite3.Error):
            saver.put_writes(HERE, NOT_STORABLE, "task-1")
        assert saver.conn.in_transaction
        saver.conn.commit()
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("SELECT channel FROM writes").fetchall() == [("mine",)]


def test_a_cursor_commits_what_its_block_did(path: Path) -> None:
    with SqliteSaver.from_conn_string(str(path)) as saver, saver.cursor() as cursor:
        cursor.execute("UPDATE writes SET task_id = 'other'")
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("SELECT task_id FROM writes").fetchall() == [("other",)]


def test_a_cursor_rolls_back_when_its_block_fails(path: Path) -> None:
    with SqliteSaver.from_conn_string(str(path)) as saver:
        with pytest.raises(sqlite3.OperationalError), saver.cursor() as cursor:
            cursor.execute("DELETE FROM writes").execute("no SQL")
        with saver.cursor(transaction=False) as cursor:
            assert cursor.execute("SELECT count(*) FROM writes").fetchone() == (1,)


def test_threads_that_share_a_saver_lose_nothing(path: Path) -> None:
    with SqliteSaver.from_conn_string(str(path)) as saver, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: saver.put_writes(HERE, [("a", n), ("b", n)], f"task-{n}x"), range(200)))
    assert count(path) == 1 + 400


async def test_coroutines_that_share_a_saver_lose_nothing(path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await asyncio.gather(
            *(saver.aput_writes(HERE, [("a", n), ("b", n)], f"task-{n}x") for n in range(200))
        )
    assert count(path) == 1 + 400


WRITER = """
import json, sys
from checkpoints.sqlite import SqliteSaver
path, name, here = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with SqliteSaver.from_conn_string(path) as saver:
    for n in range(50):
        list(saver.list(here))
        saver.put_writes(here, [("a", n)], f"{name}-{n}")
"""


def test_processes_that_share_a_new_file_lose_nothing(tmp_path: Path) -> None:
    """Each of them finds no tables, and makes them."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "new")]
    writers = [subprocess.Popen([*command, name, json.dumps(HERE)]) for name in "abcd"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0, 0]
    assert count(tmp_path / "new") == 4 * 50


async def test_a_cancelled_write_is_done_or_not_and_never_half(path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        for n in range(40):
            call = asyncio.create_task(saver.aput_writes(HERE, [(str(i), i) for i in range(9)], f"task-{n}x"))
            for _ in range(n % 4):
                await asyncio.sleep(0)
            call.cancel()
        await saver.aput_writes(HERE, [("last", 1)], "task-last")
        with closing(sqlite3.connect(path)) as conn:
            rows = conn.execute(
                "SELECT count(*) FROM writes WHERE task_id LIKE '%x' GROUP BY task_id"
            ).fetchall()
    assert {rows_of_task for (rows_of_task,) in rows} <= {9}


async def test_a_write_that_is_cancelled_while_it_waits_stores_nothing(path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        async with saver.lock:
            call = asyncio.create_task(saver.aput_writes(HERE, [("a", 1)], "task-1"))
            await asyncio.sleep(0)
            call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await saver.aput_writes(HERE, [("a", 1)], "task-2")
    assert count(path) == 2
