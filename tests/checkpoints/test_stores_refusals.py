"""What is no store, or cannot be read, is refused by name; older and odder tables are read."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from stores_data import ask, browse, execute, ids, write

from checkpoints import errors
from checkpoints.stores import Location, check

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write(tmp_path / "agent.sqlite", ["a", "b"])


def test_what_is_no_store_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite").touch()
    (tmp_path / "text.sqlite").write_text("thread_id,checkpoint\n" * 100)
    os.mkfifo(tmp_path / "pipe.sqlite")
    refusals = {
        "missing.sqlite": errors.StoreMissing,
        "missing/x.sqlite": errors.StoreMissing,
        "nul\0.sqlite": errors.StoreMissing,
        ".": errors.StoreIsDirectory,
        "empty.sqlite": errors.NotADatabase,
        "text.sqlite": errors.NotADatabase,
        "pipe.sqlite": errors.NotADatabase,
    }
    for name, refusal in refusals.items():
        with pytest.raises(refusal):
            check(Location.parse(f"{tmp_path}/{name}"))
    assert not (tmp_path / "missing.sqlite").exists()


@pytest.mark.parametrize(
    ("sql", "refusal"),
    [
        ("CREATE TABLE customers (name)", errors.NoCheckpointTables),
        (
            "CREATE TABLE checkpoints (thread_id, thread_ts, parent_ts, checkpoint, metadata)",
            errors.OldSchema,
        ),
        ("CREATE TABLE checkpoints (thread_id, checkpoint_ns, checkpoint_id)", errors.NoCheckpointTables),
        ("CREATE VIEW Checkpoints AS SELECT 1 AS thread_id", errors.NoCheckpointTables),
        ("CREATE VIRTUAL TABLE checkpoints USING fts5(thread_id)", errors.NoCheckpointTables),
    ],
)
def test_other_tables_are_refused_by_name(tmp_path: Path, sql: str, refusal: type[errors.StoreError]) -> None:
    execute(tmp_path / "other.sqlite", sql)
    with pytest.raises(refusal):
        check(Location.parse(str(tmp_path / "other.sqlite")))


async def test_a_view_of_writes_is_refused(store: Path) -> None:
    execute(store, "DROP TABLE writes")
    execute(store, "CREATE VIEW writes AS SELECT * FROM checkpoints")
    with pytest.raises(errors.NoCheckpointTables):
        await ids(store)


async def test_a_store_without_writes_and_with_more_columns_is_read(store: Path) -> None:
    execute(store, "DROP TABLE writes")
    execute(store, "ALTER TABLE checkpoints ADD COLUMN ours TEXT DEFAULT 'x'")
    assert await ids(store) == ["b", "a"]
    assert await ask(store, browse) == 2


async def test_a_store_without_rowids_is_read(store: Path) -> None:
    columns = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
    execute(store, "ALTER TABLE checkpoints RENAME TO plain")
    key = "PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)"
    execute(store, f"CREATE TABLE checkpoints ({columns}, {key}) WITHOUT ROWID")
    execute(store, f"INSERT INTO checkpoints SELECT {columns} FROM plain")
    assert await ids(store, limit=1) == ["b", "a"]
    assert await ask(store, browse) == 2


async def test_half_a_file_is_damaged(store: Path) -> None:
    os.truncate(store, os.stat(store).st_size // 2)
    with pytest.raises(errors.StoreDamaged):
        await ask(store, browse)


async def test_a_locked_store_is_busy(store: Path) -> None:
    execute(store, "PRAGMA journal_mode=DELETE")
    with closing(sqlite3.connect(store, isolation_level=None)) as owner:
        owner.execute("BEGIN EXCLUSIVE")
        with pytest.raises(errors.StoreBusy):
            await ids(store)
