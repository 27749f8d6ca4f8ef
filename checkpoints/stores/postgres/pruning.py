"""Deleting from a PostgreSQL database what the newest checkpoints do not need."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from checkpoints.deleting.latest import Doomed, doomed
from checkpoints.deleting.order import Place
from checkpoints.inert import InertSerializer
from checkpoints.postgres.tables import PostgresTables as SaverTables
from checkpoints.statements import Statement
from checkpoints.stores.postgres.deleting import PostgresTables
from checkpoints.stores.postgres.writing import writing
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from checkpoints.deleting.threads import Part
    from checkpoints.statements import Operation, Row
    from checkpoints.stores.location import Location

_OF = "thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id = ANY(%(ids)s::text[])"
_SIZE = "pg_column_size(checkpoint) + coalesce(pg_column_size(metadata), 0)"
PLACES = f"""
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, {_SIZE} FROM checkpoints WHERE {_OF}
"""
DETACH = """
UPDATE checkpoints c SET parent_checkpoint_id = NULL
FROM unnest(%(threads)s::text[], %(namespaces)s::text[], %(ids)s::text[]) AS place(thread, ns, id)
WHERE c.thread_id = thread AND c.checkpoint_ns = ns AND c.checkpoint_id = id
"""
_USED = """
SELECT DISTINCT key, value FROM checkpoints CROSS JOIN LATERAL jsonb_each_text(
    CASE jsonb_typeof(checkpoint -> 'channel_versions')
    WHEN 'object' THEN checkpoint -> 'channel_versions' ELSE '{}' END)
WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s"""
BLOBS = f"""
WITH used AS MATERIALIZED ({_USED}), unused AS MATERIALIZED (
    SELECT channel, version FROM checkpoint_blobs b WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s
        AND (%(past)s OR NOT EXISTS (SELECT FROM used WHERE used.key = b.channel AND used.value = b.version))
    LIMIT %(limit)s
), gone AS (
    DELETE FROM checkpoint_blobs b USING unused WHERE b.thread_id = %(thread)s AND b.checkpoint_ns = %(ns)s
        AND b.channel = unused.channel AND b.version = unused.version RETURNING 1)
SELECT count(*) FROM gone
"""
# Writes of a call that is past, and of no checkpoint.
LEFT_OVER = """
WITH stray AS MATERIALIZED (
    SELECT checkpoint_id, task_id, idx FROM checkpoint_writes w
    WHERE w.thread_id = %(thread)s AND w.checkpoint_ns = %(ns)s AND NOT EXISTS (
        SELECT FROM checkpoints c WHERE c.thread_id = w.thread_id AND c.checkpoint_ns = w.checkpoint_ns
            AND c.checkpoint_id = w.checkpoint_id)
    LIMIT %(limit)s
), gone AS (
    DELETE FROM checkpoint_writes w USING stray WHERE w.thread_id = %(thread)s AND w.checkpoint_ns = %(ns)s
        AND w.checkpoint_id = stray.checkpoint_id AND w.task_id = stray.task_id AND w.idx = stray.idx
        RETURNING 1)
SELECT count(*) FROM gone
"""
STAYING = f"""
SELECT (SELECT count(*) FROM checkpoints WHERE {_OF}),
       (SELECT coalesce(sum({_SIZE}), 0)::int8 FROM checkpoints WHERE {_OF}),
       (SELECT count(*) FROM checkpoint_writes WHERE {_OF}),
       (SELECT coalesce(sum(octet_length(blob)), 0)::int8 FROM checkpoint_writes WHERE {_OF}),
       count(*), coalesce(sum(octet_length(blob)), 0)::int8
FROM checkpoint_blobs b WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND EXISTS (
    SELECT FROM checkpoints c WHERE c.thread_id = b.thread_id AND c.checkpoint_ns = b.checkpoint_ns
        AND c.checkpoint_id = ANY(%(ids)s::text[])
        AND c.checkpoint -> 'channel_versions' ->> b.channel = b.version)
"""
TABLES = ("checkpoints", "checkpoint_writes", "checkpoint_blobs")


class PostgresPruned(PostgresTables):
    """The tables, on a connection that writes."""

    def doomed(self, thread_id: str) -> Doomed:
        return self._writer.run(going(thread_id))

    def places(self, thread_id: str, ns: str, ids: Sequence[str]) -> list[Place]:
        asked = _key(thread_id, ns, ids=list(ids))
        return [Place(*row) for row in self._writer.run(_asked(PLACES, asked))]

    def detach(self, parts: Sequence[Part]) -> float:
        began = time.monotonic()
        places = {
            "threads": [part.thread_id for part in parts],
            "namespaces": [part.place.ns for part in parts],
            "ids": [part.place.id for part in parts],
        }
        self._writer.transact(lambda: _asked(DETACH, places))
        return time.monotonic() - began

    def collect(self, thread_id: str, ns: str, limit: int, *, past: bool) -> tuple[Mapping[str, int], float]:
        began = time.monotonic()
        key = _key(thread_id, ns, limit=limit, past=past)

        def deletion() -> Operation[dict[str, int]]:
            [(blobs,)] = yield Statement(BLOBS, key)
            [(writes,)] = (yield Statement(LEFT_OVER, key)) if past else [(0,)]
            return {"checkpoint_blobs": blobs, "checkpoint_writes": writes}

        rows = self._writer.transact(deletion)
        return rows, time.monotonic() - began


def going(thread_id: str) -> Operation[Doomed]:
    """Decide what goes of a thread. Raises PruneRefused."""
    return (yield from doomed(SaverTables(InertSerializer.from_environment()), thread_id))


def staying(doomed: Doomed) -> Operation[dict[str, Size]]:
    """Return the rows and bytes that stay, by table."""
    sizes = dict.fromkeys(TABLES, Size(0, 0))
    for ns, ids in doomed.kept.items():
        [row] = yield Statement(STAYING, _key(doomed.thread_id, ns, ids=list(ids)))
        for table, rows, size in zip(TABLES, row[::2], row[1::2], strict=True):
            held = sizes[table]
            sizes[table] = Size(held.rows + rows, held.bytes + size)
    return sizes


def _asked(sql: str, parameters: Mapping[str, object]) -> Operation[list[Row]]:
    return (yield Statement(sql, parameters))


def _key(thread_id: str, ns: str, **others: object) -> dict[str, object]:
    return {"thread": thread_id, "ns": ns, **others}


@contextmanager
def opened(location: Location) -> Iterator[PostgresPruned]:
    """Connect to the database to delete from it. Raises a StoreError."""
    with writing(location) as writer:
        yield PostgresPruned(writer)
