"""What our SQLite savers do to files: reading leaves them as they are, writing brings them up to date."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.types import Command
from saver_graphs import dump, plain, thread, trip

from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

HERE: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}


@pytest.fixture
def old(tmp_path: Path, trips: Path) -> Path:
    """A file from before `task_path`, in rollback-journal mode."""
    path = shutil.copy(trips, tmp_path / "old.sqlite")
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("ALTER TABLE writes DROP COLUMN task_path")
        conn.execute("PRAGMA journal_mode=DELETE")
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def columns(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as conn:
        return {name for (name,) in conn.execute("SELECT name FROM pragma_table_info('writes')")}


async def read_all(path: Path) -> list[Any]:
    """Read everything that can be read, with both savers."""
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        found = [found async for found in saver.alist(None)]
        assert [await saver.aget_tuple(each.config) for each in found] == found
        await saver.aget_delta_channel_history(config=thread("booked"), channels=["log"])
    with SqliteSaver.from_conn_string(str(path)) as saver:
        assert list(saver.list(None)) == found
    return found


async def test_an_empty_file_reads_as_empty_and_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert await read_all(tmp_path / "empty") == []
    assert files(tmp_path) == {"empty": b""}


async def test_a_database_of_others_reads_as_empty_and_gets_no_tables(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other")) as conn:
        conn.execute("CREATE TABLE things (a)")
    before = files(tmp_path)
    assert await read_all(tmp_path / "other") == []
    assert files(tmp_path) == before


async def test_an_old_file_is_read_and_not_changed(old: Path) -> None:
    before = files(old.parent)
    ours = await read_all(old)
    assert files(old.parent) == before
    with OfficialSaver.from_conn_string(str(old)) as official:  # migrates it
        assert list(official.list(None)) == ours
    assert files(old.parent) != before


def test_an_old_file_is_migrated_by_a_write(old: Path) -> None:
    with SqliteSaver.from_conn_string(str(old)) as saver:
        trip(saver).invoke({"log": ["began"]}, thread("new"))
    assert "task_path" in columns(old)
    with OfficialSaver.from_conn_string(str(old)) as official:
        assert trip(official).invoke(Command(resume="yes"), thread("new"))["approved"] == "yes"


def test_a_migration_by_another_process_is_noticed(old: Path) -> None:
    with SqliteSaver.from_conn_string(str(old)) as reader, SqliteSaver.from_conn_string(str(old)) as writer:
        config = writer.put(HERE, empty_checkpoint(), {}, {})
        writer.put_writes(config, [("channel", 1)], "task-a", "path-b")
        assert reader.get_tuple(config) is not None
        writer.put_writes(config, [("channel", 2)], "task-b", "path-a")
        found = reader.get_tuple(config)
    assert found is not None
    assert [value for _, _, value in found.pending_writes or ()] == [2, 1]  # by path, not by task


def test_tables_that_appear_later_are_noticed(tmp_path: Path) -> None:
    path = str(tmp_path / "new")
    with SqliteSaver.from_conn_string(path) as reader, SqliteSaver.from_conn_string(path) as writer:
        assert reader.get_tuple(HERE) is None
        config = writer.put(HERE, empty_checkpoint(), {}, {})
        assert reader.get_tuple(config) is not None


@pytest.mark.parametrize("mode", ["mode=ro", "immutable=1"])
async def test_the_async_saver_reads_through_a_read_only_connection(old: Path, mode: str) -> None:
    before = files(old.parent)
    async with aiosqlite.connect(f"{old.as_uri()}?{mode}", uri=True) as conn:
        saver = AsyncSqliteSaver(conn)
        found = [found async for found in saver.alist(None)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await saver.aput(HERE, empty_checkpoint(), {}, {})
    assert plain(found) == plain(await read_all(old))
    assert files(old.parent) == before


async def test_a_write_makes_the_official_tables_in_wal_mode(tmp_path: Path) -> None:
    shapes = []
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "ours")) as saver:
        await saver.setup()
        assert saver.is_setup
    with OfficialSaver.from_conn_string(str(tmp_path / "official")) as official:
        official.setup()
    for name in ("ours", "official"):
        with closing(sqlite3.connect(tmp_path / name)) as conn:
            tables = [conn.execute(f"PRAGMA table_xinfo({t})").fetchall() for t in ("checkpoints", "writes")]
            shapes.append((tables, conn.execute("PRAGMA journal_mode").fetchall()))
    assert shapes[0] == shapes[1]


def test_a_setup_that_has_nothing_to_do_changes_no_byte(tmp_path: Path, trips: Path) -> None:
    path = shutil.copy(trips, tmp_path / "trips")
    before = Path(path).read_bytes()
    with SqliteSaver.from_conn_string(str(path)) as saver:
        saver.setup()
    assert Path(path).read_bytes() == before
    assert dump(path) == dump(trips)


async def test_a_connection_that_was_never_awaited_is_opened(trips: Path) -> None:
    saver = AsyncSqliteSaver(aiosqlite.connect(trips))
    assert await saver.aget_tuple(thread("booked")) is not None
    await saver.conn.close()
    with pytest.raises(ValueError, match=r"[Cc]onnection"):
        await saver.aget_tuple(thread("booked"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_without_write_permission_is_read(old: Path) -> None:
    old.chmod(0o444)
    with SqliteSaver.from_conn_string(str(old)) as saver:
        assert list(saver.list(None))
