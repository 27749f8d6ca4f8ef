"""Deleting from a PostgreSQL database, a short transaction at a time."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from checkpoints.deleting.order import Place
from checkpoints.deleting.threads import Held
from checkpoints.statements import Statement
from checkpoints.stores.postgres.writing import writing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from checkpoints.deleting.threads import Part
    from checkpoints.statements import Operation, Row
    from checkpoints.stores.location import Location
    from checkpoints.stores.postgres.writing import PostgresWriter

TABLES: Final = ("checkpoint_writes", "checkpoints", "checkpoint_blobs")

NEWEST = """
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id,
       pg_column_size(checkpoint) + coalesce(pg_column_size(metadata), 0)
FROM checkpoints WHERE thread_id = %s ORDER BY checkpoint_id COLLATE "C" DESC LIMIT %s
"""
TASKS = """
SELECT w.checkpoint_ns, w.checkpoint_id, w.task_id, count(*), coalesce(sum(pg_column_size(w.blob)), 0)::bigint
FROM checkpoint_writes w
JOIN unnest(%s::text[], %s::text[]) AS place(ns, id) ON w.checkpoint_ns = ns AND w.checkpoint_id = id
WHERE w.thread_id = %s GROUP BY 1, 2, 3
"""
DELETE_CHECKPOINTS = """
WITH gone AS (DELETE FROM checkpoints c
              USING unnest(%s::text[], %s::text[], %s::text[]) AS place(thread, ns, id)
              WHERE c.thread_id = thread AND c.checkpoint_ns = ns AND c.checkpoint_id = id RETURNING 1)
SELECT count(*) FROM gone
"""
DELETE_WRITES = """
WITH gone AS (DELETE FROM checkpoint_writes w
              USING unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS place(thread, ns, id, task)
              WHERE w.thread_id = thread AND w.checkpoint_ns = ns AND w.checkpoint_id = id
                AND (task IS NULL OR w.task_id = task) RETURNING 1)
SELECT count(*) FROM gone
"""
SWEEP = """
WITH gone AS (DELETE FROM {table} WHERE thread_id = %s AND ctid = ANY(
                  ARRAY(SELECT ctid FROM {table} WHERE thread_id = %s LIMIT %s)) RETURNING 1)
SELECT count(*) FROM gone
"""
LEFT = "SELECT thread_id, count(*) FROM {table} WHERE thread_id = ANY(%s::text[]) GROUP BY 1"


class PostgresTables:
    """The three tables, on a connection that writes."""

    names = TABLES

    def __init__(self, writer: PostgresWriter) -> None:
        self._writer = writer

    def newest(self, thread_id: str, limit: int) -> list[Place]:
        return [Place(*row) for row in self._rows(NEWEST, (thread_id, limit))]

    def writes(self, thread_id: str, places: Sequence[Place]) -> list[Held]:
        asked = [place.ns for place in places], [place.id for place in places], thread_id
        return [Held((ns, id), *facts) for ns, id, *facts in self._rows(TASKS, asked)]

    def delete(self, parts: Sequence[Part]) -> tuple[Mapping[str, int], float]:
        # Writes before their checkpoints, as a saver stores them after: two who lock rows in turn may wait.
        wholes = [part for part in parts if part.tasks is None]
        written = [(part, task) for part in parts for task in part.tasks or (None,)]
        writes = (*_keys([part for part, _ in written]), [task for _, task in written])

        def deletion() -> Operation[dict[str, int]]:
            [(writes_gone,)] = yield Statement(DELETE_WRITES, writes)
            [(checkpoints_gone,)] = yield Statement(DELETE_CHECKPOINTS, _keys(wholes))
            return {"checkpoint_writes": writes_gone, "checkpoints": checkpoints_gone}

        began = time.monotonic()
        rows = self._writer.transact(deletion)
        return rows, time.monotonic() - began

    def sweep(self, table: str, thread_id: str, limit: int) -> tuple[int, float]:
        began = time.monotonic()
        sql = SWEEP.format(table=table)
        [(rows,)] = self._writer.transact(lambda: _answer(sql, (thread_id, thread_id, limit)))
        return rows, time.monotonic() - began

    def markers(self, thread_id: str) -> list[bytes]:
        return []  # nobody can search a server's files

    def left(self, thread_ids: Collection[str]) -> Mapping[str, Mapping[str, int]]:
        left: dict[str, dict[str, int]] = {}
        for table in self.names:
            for thread_id, rows in self._rows(LEFT.format(table=table), (list(thread_ids),)):
                left.setdefault(thread_id, {})[table] = rows
        return left

    def _rows(self, sql: str, parameters: Sequence[object]) -> list[Row]:
        return self._writer.run(_answer(sql, parameters))


def _answer(sql: str, parameters: Sequence[object]) -> Operation[list[Row]]:
    return (yield Statement(sql, parameters))


def _keys(parts: Sequence[Part]) -> tuple[list[str], list[str], list[str]]:
    return (
        [part.thread_id for part in parts],
        [part.place.ns for part in parts],
        [part.place.id for part in parts],
    )


@contextmanager
def opened(location: Location) -> Iterator[PostgresTables]:
    """Connect to the database to delete from it. Raises a StoreError."""
    with writing(location) as writer:
        yield PostgresTables(writer)
