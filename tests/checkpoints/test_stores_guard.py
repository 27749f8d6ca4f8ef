"""A store's connection reads only, for a limited time, and survives what is stored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from stores_data import ask, config, execute, ids, write

from checkpoints import errors
from checkpoints.stores.sqlite import connection

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.stores import SqliteStore

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    execute(write(tmp_path / "agent.sqlite", ["a", "b"]), "PRAGMA journal_mode=DELETE")
    return tmp_path / "agent.sqlite"


FORBIDDEN = [
    "DELETE FROM checkpoints",
    "CREATE TEMP TABLE t (x)",
    "ATTACH ':memory:' AS other",
    "PRAGMA query_only=OFF",
    "PRAGMA writable_schema=ON",
    "VACUUM INTO 'copy.sqlite'",
    "CREATE VIRTUAL TABLE temp.t USING fts5(x)",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
async def test_the_connection_compiles_nothing_but_reading(store: Path, sql: str) -> None:
    async def attempt(asked: SqliteStore) -> None:
        await asked.conn.execute(sql)

    with pytest.raises(errors.StoreDamaged, match="SQLITE_AUTH"):
        await ask(store, attempt)


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_the_control_an_ordinary_connection_compiles_it(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect(store, isolation_level=None)) as conn:
        conn.execute(sql)


async def test_the_saver_reads_and_may_not_write(store: Path) -> None:
    async def use(asked: SqliteStore) -> int:
        found = await asked.saver.aget_tuple(config("a"))
        assert found is not None
        with pytest.raises(sqlite3.DatabaseError):
            await asked.saver.aput_writes(found.config, [("log", "x")], "task")
        return len([row async for row in asked.saver.alist(config("a"))])

    assert await ask(store, use) == 3


async def test_a_heavy_read_is_stopped(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READ_SECONDS", 0.05)

    async def dig(asked: SqliteStore) -> None:
        await asked.conn.execute(ENDLESS)

    with pytest.raises(errors.ReadTimeout):
        await ask(store, dig)


async def test_no_error_quotes_what_is_stored(store: Path) -> None:
    execute(store, "UPDATE checkpoints SET thread_id = 'secret'")
    execute(store, "ALTER TABLE checkpoints RENAME COLUMN metadata TO secret")
    with pytest.raises(errors.NoCheckpointTables) as caught:
        await ids(store)
    assert "secret" not in str(caught.value)


async def test_text_that_is_not_utf8_is_shown_with_replacements(store: Path) -> None:
    execute(store, "UPDATE checkpoints SET thread_id = CAST(x'62ff' AS TEXT) WHERE thread_id = 'b'")
    execute(store, "UPDATE checkpoints SET metadata = CAST(x'ff' AS TEXT), type = CAST(x'ff' AS TEXT)")
    assert set(await ids(store)) == {"a", "b\ufffd", "b"}
    assert set(await ids(store, limit=1)) == {"a", "b\ufffd", "b"}


async def test_columns_of_any_type_are_read(store: Path) -> None:
    execute(
        store, "UPDATE checkpoints SET type = 7, checkpoint = 'text', metadata = 3.5 WHERE thread_id = 'a'"
    )
    execute(store, "UPDATE writes SET task_id = x'ff00', channel = 1, value = 12 WHERE thread_id = 'a'")

    async def look(asked: SqliteStore) -> None:
        row = (await asked.threads()).threads[1]
        assert row.head is not None
        assert (row.head.type, row.head.blob, row.head.metadata) == ("7", b"text", None)
        page = await asked.timeline("a", "")
        assert {(write.channel, write.value) for found in page.writes.values() for write in found} == {
            ("1", b"12")
        }

    await ask(store, look)
