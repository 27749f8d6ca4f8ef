"""Deleting from a SQLite file, a short transaction at a time."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import contextmanager, suppress
from operator import methodcaller
from typing import TYPE_CHECKING, Final

from checkpoints.deleting.order import Place
from checkpoints.deleting.threads import Held
from checkpoints.sqlite.driver import transaction
from checkpoints.stores.sqlite.erasing import markers_of
from checkpoints.stores.sqlite.schema import Schema
from checkpoints.stores.sqlite.writing import connected

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from checkpoints.deleting.threads import Part
    from checkpoints.stores.location import Location

LOG_BYTES: Final = 4 << 20  # of a -wal, which is then moved into the file while nobody waits for that

SETTINGS = (
    "PRAGMA secure_delete=ON",  # what is freed is overwritten with zeros
    "PRAGMA wal_autocheckpoint=0",  # not inside of a transaction's end, where it would count as a lock
)
WAL_SETTING = "PRAGMA synchronous=NORMAL"  # a crash of the machine may undo the last batches, no more

NEWEST = """
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id,
       ifnull(length(checkpoint), 0) + ifnull(length(metadata), 0)
FROM checkpoints
WHERE thread_id = ? AND typeof(checkpoint_ns) = 'text' AND typeof(checkpoint_id) = 'text'
ORDER BY checkpoint_id DESC LIMIT ?
"""
TASKS = """
SELECT task_id, count(*), ifnull(sum(length(value)), 0) FROM writes
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? GROUP BY task_id
"""
DELETE_CHECKPOINT = "DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
DELETE_WRITES = "DELETE FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
DELETE_TASK = f"{DELETE_WRITES} AND task_id = ?"
SWEEP = "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE thread_id = ? LIMIT ?)"
SWEEP_WHOLE = "DELETE FROM {table} WHERE thread_id = ? AND ? > 0"  # a table without rowids
LEFT = "SELECT count(*) FROM {table} WHERE thread_id = ?"


class SqliteTables:
    """The two tables, or the one of an old file, on a connection that writes."""

    def __init__(self, conn: sqlite3.Connection, schema: Schema, path: str) -> None:
        self._conn = conn
        self._schema = schema
        self._log = f"{path}-wal"
        self.names = ("writes", "checkpoints") if schema.writes else ("checkpoints",)

    def newest(self, thread_id: str, limit: int) -> list[Place]:
        return [Place(*row) for row in self._conn.execute(NEWEST, (thread_id, limit))]

    def writes(self, thread_id: str, places: Sequence[Place]) -> list[Held]:
        if not self._schema.writes:
            return []
        return [
            Held((place.ns, place.id), *row)
            for place in places
            for row in self._conn.execute(TASKS, (thread_id, place.ns, place.id))
        ]

    def delete(self, parts: Sequence[Part]) -> tuple[Mapping[str, int], float]:
        tasks, wholes = _keys(parts)
        statements = [("checkpoints", DELETE_CHECKPOINT, wholes)]
        if self._schema.writes:
            statements += [("writes", DELETE_TASK, tasks), ("writes", DELETE_WRITES, wholes)]
        return self._delete(statements)

    def sweep(self, table: str, thread_id: str, limit: int) -> tuple[int, float]:
        sql = SWEEP if self._schema.rowid else SWEEP_WHOLE
        rows, seconds = self._delete([(table, sql.format(table=table), [(thread_id, limit)])])
        return rows[table], seconds

    def markers(self, thread_id: str) -> list[bytes]:
        return markers_of(self._conn, thread_id)

    def left(self, thread_ids: Collection[str]) -> Mapping[str, Mapping[str, int]]:
        left: dict[str, dict[str, int]] = {}
        for table in self.names:
            sql = LEFT.format(table=table)
            for thread_id in thread_ids:
                [(rows,)] = self._conn.execute(sql, (thread_id,))
                if rows:
                    left.setdefault(thread_id, {})[table] = rows
        return left

    def _delete(
        self, statements: Sequence[tuple[str, str, Sequence[tuple[object, ...]]]]
    ) -> tuple[Counter[str], float]:
        rows: Counter[str] = Counter()
        with transaction(self._conn):
            began = time.monotonic()
            for table, sql, keys in statements:
                rows[table] += self._conn.executemany(sql, keys).rowcount if keys else 0
        seconds = time.monotonic() - began
        self._move_log()
        return rows, seconds

    def _move_log(self) -> None:
        with suppress(OSError):
            if os.stat(self._log).st_size > LOG_BYTES:
                self._conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _keys(parts: Sequence[Part]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the keys of tasks that go, and of checkpoints that go with all their writes."""
    tasks: list[tuple[str, ...]] = []
    wholes: list[tuple[str, ...]] = []
    for part in parts:
        key = part.thread_id, part.place.ns, part.place.id
        if part.tasks is None:
            wholes.append(key)
        else:
            tasks += [(*key, task) for task in part.tasks]
    return tasks, wholes


@contextmanager
def opened(location: Location) -> Iterator[SqliteTables]:
    """Open the file to delete from it. Raises a StoreError."""
    with opening(location) as found:
        yield SqliteTables(*found)


@contextmanager
def opening(location: Location) -> Iterator[tuple[sqlite3.Connection, Schema, str]]:
    """Connect to the file to delete from it; give its tables and its path, too."""
    with connected(location) as conn:
        conn.text_factory = methodcaller("decode", "utf-8", "replace")
        [(mode,)] = conn.execute("PRAGMA journal_mode")
        for setting in (*SETTINGS, *([WAL_SETTING] if mode == "wal" else [])):
            conn.execute(setting).fetchall()
        yield conn, Schema.of(conn, location.name), os.path.realpath(location.path)
