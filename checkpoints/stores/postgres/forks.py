"""Forks in a PostgreSQL database, where a checkpoint is a document and rows of values that others share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.errors import UniqueViolation

from checkpoints.errors import ThreadExists
from checkpoints.postgres.operations import ANY_OF_THREAD, RESERVE
from checkpoints.statements import Operation, Statement
from checkpoints.stores.forks import Call, parents_of
from checkpoints.stores.postgres.drafts import PostgresDraft, source
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from checkpoints.splicing.seals import Seal
    from checkpoints.stores.forks import Belongings
    from checkpoints.stores.postgres.drafts import Source
    from checkpoints.stores.postgres.schema import Schema

_HEAD = """
SELECT checkpoint_id FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = %s
ORDER BY checkpoint_id DESC LIMIT 1
"""
_CHAIN = """
WITH RECURSIVE chain (id, parent) AS (
    SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints
    WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id = %(id)s
    UNION
    SELECT found.checkpoint_id, found.parent_checkpoint_id FROM chain CROSS JOIN LATERAL (
        SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints
        WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id = chain.parent LIMIT 1
    ) AS found
)
SELECT id FROM chain
"""
_CALLS = """
SELECT checkpoint_ns, checkpoint_id, (metadata -> 'parents')::text
FROM checkpoints WHERE thread_id = %s AND checkpoint_ns > ''
"""
_EXISTING = """
SELECT checkpoint_id FROM checkpoints
WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id = ANY(%(ids)s::text[])
"""
_WANTED = "unnest(%(namespaces)s::text[], %(ids)s::text[]) AS wanted (ns, id)"
_CHECKPOINTS = f"""
{_WANTED} CROSS JOIN LATERAL (
    SELECT * FROM checkpoints
    WHERE thread_id = %(thread)s AND checkpoint_ns = wanted.ns AND checkpoint_id = wanted.id LIMIT 1
) AS kept
"""
_WRITES = f"""
{_WANTED} CROSS JOIN LATERAL (
    SELECT * FROM checkpoint_writes
    WHERE thread_id = %(thread)s AND checkpoint_ns = wanted.ns AND checkpoint_id = wanted.id OFFSET 0
) AS kept
WHERE NOT EXISTS (
    SELECT 1 FROM unnest(%(task_namespaces)s::text[], %(task_checkpoints)s::text[], %(tasks)s::text[])
        AS task (ns, id, task_id)
    WHERE task.ns = kept.checkpoint_ns AND task.id = kept.checkpoint_id AND task.task_id = kept.task_id
)
"""
# Each value once, however many checkpoints share it.
_BLOBS = f"""
(SELECT DISTINCT wanted.ns, held.key, held.value
 FROM {_CHECKPOINTS}
 CROSS JOIN LATERAL jsonb_each_text(CASE jsonb_typeof(kept.checkpoint -> 'channel_versions')
     WHEN 'object' THEN kept.checkpoint -> 'channel_versions' ELSE '{{}}' END) AS held
) AS shared (ns, channel, version)
CROSS JOIN LATERAL (
    SELECT type, blob FROM checkpoint_blobs
    WHERE thread_id = %(thread)s AND checkpoint_ns = shared.ns AND channel = shared.channel
      AND version = shared.version LIMIT 1
) AS kept
"""
_COUNT = f"""
SELECT 'checkpoints', count(*),
       coalesce(sum(pg_column_size(kept.checkpoint) + pg_column_size(kept.metadata)), 0)::int8
FROM {_CHECKPOINTS}
UNION ALL
SELECT 'checkpoint_blobs', count(*), coalesce(sum(octet_length(kept.blob)), 0)::int8 FROM {_BLOBS}
UNION ALL
SELECT 'checkpoint_writes', count(*), coalesce(sum(octet_length(kept.blob)), 0)::int8 FROM {_WRITES}
"""
# One statement: all tables are seen at one moment of a thread that is being written.
_COPY = f"""
WITH blobs AS (
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT %(target)s, shared.ns, shared.channel, shared.version, kept.type, kept.blob FROM {_BLOBS}
    RETURNING 1
), writes AS (
    INSERT INTO checkpoint_writes
        (thread_id, checkpoint_ns, checkpoint_id, task_id, {{path}} idx, channel, type, blob)
    SELECT %(target)s, kept.checkpoint_ns, kept.checkpoint_id, kept.task_id, {{kept_path}} kept.idx,
           kept.channel, kept.type, kept.blob
    FROM {_WRITES}
    RETURNING 1
), copied AS (
    INSERT INTO checkpoints
        (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
    SELECT %(target)s, kept.checkpoint_ns, kept.checkpoint_id, kept.parent_checkpoint_id, kept.type,
           kept.checkpoint, kept.metadata
    FROM {_CHECKPOINTS}
    RETURNING 1
)
SELECT 'checkpoints', count(*) FROM copied
UNION ALL SELECT 'checkpoint_blobs', count(*) FROM blobs
UNION ALL SELECT 'checkpoint_writes', count(*) FROM writes
"""


@dataclass(frozen=True, slots=True)
class PostgresForks:
    """`checkpoints.stores.forks.Forks` of PostgreSQL."""

    schema: Schema

    def source(
        self, thread_id: str, checkpoint_ns: str, id: str, edited: Collection[str]
    ) -> Operation[Source]:
        return source(thread_id, checkpoint_ns, id, edited)

    def draft(
        self, source: Source, values: Mapping[str, Any], note: Mapping[str, str], seal: Seal
    ) -> PostgresDraft:
        return PostgresDraft(source, values, note, seal)

    def reserve(self, thread_id: str) -> Operation[None]:
        yield Statement(RESERVE, (thread_id,))

    def head(self, thread_id: str, checkpoint_ns: str) -> Operation[str | None]:
        rows = yield Statement(_HEAD, (thread_id, checkpoint_ns))
        return rows[0][0] if rows else None

    def chain(self, thread_id: str, checkpoint_ns: str, id: str) -> Operation[list[str]]:
        rows = yield Statement(_CHAIN, {"thread": thread_id, "ns": checkpoint_ns, "id": id})
        return [found for (found,) in rows]

    def calls(self, thread_id: str) -> Operation[list[Call]]:
        rows = yield Statement(_CALLS, (thread_id,))
        return [Call(ns, id, parents_of(parents)) for ns, id, parents in rows]

    def existing(self, thread_id: str, checkpoint_ns: str, ids: Sequence[str]) -> Operation[set[str]]:
        rows = yield Statement(_EXISTING, {"thread": thread_id, "ns": checkpoint_ns, "ids": list(ids)})
        return {id for (id,) in rows}

    def sizes(self, thread_id: str, belongings: Belongings) -> Operation[dict[str, Size]]:
        rows = yield Statement(_COUNT, _wanted(thread_id, belongings))
        return {table: Size(count, size) for table, count, size in rows}

    def stage(self, belongings: Belongings) -> Operation[None]:
        yield from ()  # what is to be copied comes with the statement

    def copy(self, thread_id: str, belongings: Belongings, target: str) -> Operation[dict[str, int]]:
        taken = ThreadExists(f"There is a thread {target!r} already.")
        yield from self.reserve(target)
        if (yield Statement(ANY_OF_THREAD, {"thread_id": target})):
            raise taken
        path = ("task_path,", "kept.task_path,") if self.schema.task_path else ("", "")
        sql = _COPY.replace("{path}", path[0]).replace("{kept_path}", path[1])
        try:
            return dict((yield Statement(sql, {**_wanted(thread_id, belongings), "target": target})))
        except UniqueViolation as error:  # an agent has just begun it
            raise taken from error


def _wanted(thread_id: str, belongings: Belongings) -> dict[str, Any]:
    namespaces, ids = zip(*belongings.keys, strict=True) if belongings.keys else ((), ())
    tasks = list(zip(*belongings.unfinished, strict=True)) or [(), (), ()]
    return {
        "thread": thread_id,
        "namespaces": list(namespaces),
        "ids": list(ids),
        "task_namespaces": list(tasks[0]),
        "task_checkpoints": list(tasks[1]),
        "tasks": list(tasks[2]),
    }
