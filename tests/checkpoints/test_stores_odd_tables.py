"""Tables that LangGraph never made: read where they can be, refused by name where they cannot."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from checkpoints.errors import NoCheckpointTables, StoreError, StoreUnreadable
from checkpoints.stores import Location, check, read

if TYPE_CHECKING:
    from pathlib import Path

LOOSE = """
CREATE TABLE checkpoints (thread_id TEXT, checkpoint_ns TEXT, checkpoint_id TEXT, parent_checkpoint_id TEXT,
                          type TEXT, checkpoint BLOB, metadata BLOB {more});
CREATE TABLE writes (thread_id TEXT, checkpoint_ns TEXT, checkpoint_id TEXT, task_id TEXT, task_path TEXT,
                     idx INTEGER, channel TEXT, type TEXT, value BLOB);
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id) VALUES ('good', '', '1'), ({row});
INSERT INTO writes VALUES ('good', '', '1', {write});
"""


def store(
    path: Path, *, row: str = "'t', '', '1'", write: str = "'task', '', 0, 'c', 'null', x''", more: str = ""
) -> Location:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(LOOSE.format(row=row, write=write, more=more))
    return Location.parse(str(path))


@pytest.mark.parametrize(
    "row", ["NULL, '', '1'", "'t', NULL, '1'", "'t', '', NULL", "1, 2, 3", "x'ff', x'00', x'01'"]
)
async def test_a_row_without_proper_ids_hides_no_other(tmp_path: Path, row: str) -> None:
    page = await read(store(tmp_path / "odd.sqlite", row=row), lambda opened: opened.threads())
    assert "good" in [thread.thread_id for thread in page.threads]


@pytest.mark.parametrize(
    "write",
    [
        "NULL, NULL, NULL, NULL, NULL, NULL",
        "1, 2, 'x', 4.5, 6, 'text'",
        "x'ff', x'fe', x'00', x'01', x'02', 7",
    ],
)
async def test_a_write_of_odd_types_is_read_as_text(tmp_path: Path, write: str) -> None:
    [found] = await read(
        store(tmp_path / "odd.sqlite", write=write), lambda opened: opened.writes("good", "", "1")
    )
    assert all(isinstance(text, str) for text in (found.task_id, found.task_path, found.channel))
    assert isinstance(found.idx, int)


async def test_a_column_named_rowid_is_not_taken_for_the_rowid(tmp_path: Path) -> None:
    location = store(tmp_path / "odd.sqlite", more=", rowid TEXT DEFAULT 'x'")
    page = await read(location, lambda opened: opened.threads())
    assert {thread.thread_id for thread in page.threads} == {"good", "t"}


@pytest.mark.parametrize(
    "more", [", extra TEXT AS (printf('%.*c', 500000000, 'x'))", f", extra TEXT DEFAULT '{'x' * 1_000}'"]
)
def test_columns_that_make_up_their_content_are_refused(tmp_path: Path, more: str) -> None:
    with pytest.raises(NoCheckpointTables, match="make up"):
        check(store(tmp_path / "odd.sqlite", more=more))


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_log_that_is_no_file_is_refused_and_not_waited_for(
    tmp_path: Path, suffix: str, make: object
) -> None:
    location = store(tmp_path / "odd.sqlite")
    make(f"{location.path}{suffix}")  # type: ignore[operator]
    with pytest.raises(StoreUnreadable, match="not a regular file"):
        check(location)


def test_shared_memory_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    location = store(tmp_path / "odd.sqlite")
    with closing(sqlite3.connect(location.path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
    (tmp_path / "odd.sqlite-wal").write_bytes(b"x" * 100)
    os.mkfifo(f"{location.path}-shm")
    with pytest.raises(StoreError):
        check(location)


def test_a_path_that_is_no_text_can_be_shown(tmp_path: Path) -> None:
    location = Location.parse(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.sqlite"))
    assert location.name == "caf\ufffd.sqlite"
    with pytest.raises(StoreError) as refused:
        check(location)
    assert refused.value.sentence.encode()
