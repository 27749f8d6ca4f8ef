"""What pruning asks of the tables, and the checkpoints of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.types import TASKS

from checkpoints.postgres.codec import EMPTY
from checkpoints.postgres.operations import NAMESPACE, TABLES
from checkpoints.saver.needs import COUNTERS
from checkpoints.saver.runs import as_ids, delete
from checkpoints.saver.tables import Described
from checkpoints.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from checkpoints.postgres.tables import PostgresTables
    from checkpoints.statements import Operation, Row

# Of a checkpoint's values only the names, those of its blobs too.
DESCRIBED = f"""\
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint ->> 'v',
    ARRAY(SELECT key FROM jsonb_each(checkpoint -> 'channel_values')
          UNION SELECT key FROM jsonb_each_text(checkpoint -> 'channel_versions') AS held (key, version)
          WHERE EXISTS (SELECT 1 FROM checkpoint_blobs WHERE thread_id = %(thread_id)s
              AND checkpoint_ns = at.checkpoint_ns AND channel = held.key
              AND checkpoint_blobs.version = held.version AND type <> '{EMPTY}' OFFSET 0)),
    ARRAY(SELECT key FROM jsonb_each(checkpoint -> 'channel_versions')),
    metadata -> 'parents' ->> ''"""
DESCRIBE = f"{DESCRIBED} {NAMESPACE.replace('checkpoints', 'checkpoints AS at')} AND checkpoint_id = %(id)s"
HEADS = f"""\
{DESCRIBED}
FROM (SELECT DISTINCT checkpoint_ns FROM checkpoints WHERE thread_id = %(thread_id)s) AS named (ns)
CROSS JOIN LATERAL (
    SELECT * FROM checkpoints WHERE thread_id = %(thread_id)s AND checkpoint_ns = ns
    ORDER BY checkpoint_id DESC LIMIT 1) AS at"""
EXISTING = f"SELECT checkpoint_id {NAMESPACE} AND checkpoint_id = ANY(%(ids)s)"
LINKS = f"SELECT checkpoint_id, parent_checkpoint_id {NAMESPACE}"
COUNTED = f"""\
SELECT DISTINCT checkpoint_ns, key
FROM checkpoints CROSS JOIN LATERAL jsonb_object_keys(CASE jsonb_typeof(metadata -> '{COUNTERS}')
    WHEN 'object' THEN metadata -> '{COUNTERS}' ELSE '{{}}' END) AS counted (key)
WHERE thread_id = %s"""
WRITTEN = "SELECT DISTINCT channel FROM checkpoint_writes WHERE thread_id = %s AND checkpoint_ns = %s"
OLDEST_WRITE = """\
SELECT max(place)::int - 1 FROM unnest(%(chain)s::text[]) WITH ORDINALITY AS chain (id, place)
WHERE EXISTS (SELECT 1 FROM checkpoint_writes WHERE thread_id = %(thread_id)s
    AND checkpoint_ns = %(checkpoint_ns)s AND checkpoint_id = chain.id AND channel = %(channel)s)"""
SENDS = f"""\
SELECT 1 FROM checkpoint_writes WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s
AND channel = '{TASKS}' LIMIT 1"""

DELETE_WRITES = """\
DELETE FROM checkpoint_writes
WHERE thread_id = %(thread_id)s AND checkpoint_ns = %(checkpoint_ns)s AND checkpoint_id = ANY(%(ids)s)"""
DELETE_CHECKPOINTS = f"""\
WITH gone AS (
    DELETE {NAMESPACE} AND checkpoint_id = ANY(%(ids)s)
    RETURNING checkpoint -> 'channel_versions' AS versions)
SELECT DISTINCT key, value FROM gone CROSS JOIN LATERAL jsonb_each_text(versions)"""
ORPHAN = f"""\
UPDATE checkpoints SET parent_checkpoint_id = NULL
{NAMESPACE.removeprefix("FROM checkpoints ")}
AND parent_checkpoint_id = ANY(%(ids)s) AND checkpoint_id <> ALL(%(ids)s)"""
REFERRED = f"""\
SELECT DISTINCT key, value
FROM checkpoints CROSS JOIN LATERAL jsonb_each_text(checkpoint -> 'channel_versions')
{NAMESPACE.removeprefix("FROM checkpoints ")}"""
DELETE_BLOBS = """\
DELETE FROM checkpoint_blobs WHERE thread_id = %(thread_id)s AND checkpoint_ns = %(checkpoint_ns)s
AND channel = %(channel)s AND version = ANY(%(versions)s)"""
DELETE_NAMESPACES = tuple(
    f"DELETE FROM {table} WHERE thread_id = %s AND checkpoint_ns = ANY(%s)" for table in TABLES
)

RUNS = """\
SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints WHERE metadata ->> 'run_id' = ANY(%s)"""


def heads(thread_id: str) -> Operation[list[Described]]:
    """Return the newest checkpoint of each namespace."""
    return [_described(row) for row in (yield Statement(HEADS, {"thread_id": thread_id}))]


def describe(thread_id: str, checkpoint_ns: str, id: str) -> Operation[Described]:
    """Return what one checkpoint says about itself."""
    [row] = yield Statement(DESCRIBE, _key(thread_id, checkpoint_ns, id=id))
    return _described(row)


def _described(row: Row) -> Described:
    ns, id, parent_id, version, held, versioned, root_id = row
    number = int(version) if (version or "").isdecimal() else None
    return Described(ns, id, parent_id, number, held, versioned, root_id)


def existing(thread_id: str, checkpoint_ns: str, ids: Collection[str]) -> Operation[set[str]]:
    """Return those of these checkpoints that there are."""
    found = yield Statement(EXISTING, _key(thread_id, checkpoint_ns, ids=list(ids)))
    return {id for (id,) in found}


def links(thread_id: str, checkpoint_ns: str) -> Operation[dict[str, str | None]]:
    """Return the parent of each checkpoint of a namespace, by id."""
    return dict((yield Statement(LINKS, _key(thread_id, checkpoint_ns))))


def counted(thread_id: str) -> Operation[dict[str, set[str]]]:
    """Return, by namespace, the DeltaChannels that LangGraph ever counted the updates of."""
    found: dict[str, set[str]] = {}
    for checkpoint_ns, channel in (yield Statement(COUNTED, (thread_id,))):
        found.setdefault(checkpoint_ns, set()).add(channel)
    return found


def written(thread_id: str, checkpoint_ns: str) -> Operation[set[str]]:
    """Return the channels that have pending writes in a namespace."""
    return {channel for (channel,) in (yield Statement(WRITTEN, (thread_id, checkpoint_ns)))}


def oldest_write(
    thread_id: str, checkpoint_ns: str, chain: Sequence[str], channel: str
) -> Operation[int | None]:
    """Return the place in the chain of the last checkpoint that has writes to the channel."""
    of = _key(thread_id, checkpoint_ns, chain=list(chain), channel=channel)
    [(place,)] = yield Statement(OLDEST_WRITE, of)
    oldest: int | None = place
    return oldest


def has_sends(thread_id: str, checkpoint_ns: str, id: str) -> Operation[bool]:
    """Tell whether tasks were sent from a checkpoint."""
    return bool((yield Statement(SENDS, (thread_id, checkpoint_ns, id))))


def delete_checkpoints(thread_id: str, checkpoint_ns: str, ids: Collection[str]) -> Operation[None]:
    """Delete checkpoints of a namespace with their writes, and the blobs that no other one there refers to.

    One whose parent goes is left with none.
    """
    if not ids:
        return
    namespace = _key(thread_id, checkpoint_ns, ids=list(ids))
    yield Statement(ORPHAN, namespace, once=True)  # first, while there is one version of each row to read
    yield Statement(DELETE_WRITES, namespace, once=True)
    freed = yield Statement(DELETE_CHECKPOINTS, namespace, once=True)
    garbage = {*freed} - {*(yield Statement(REFERRED, namespace))}
    versions: dict[str, list[str]] = {}
    for channel, version in garbage:
        versions.setdefault(channel, []).append(version)
    for channel in versions:
        of = _key(thread_id, checkpoint_ns, channel=channel, versions=versions[channel])
        yield Statement(DELETE_BLOBS, of, once=True)


def delete_namespaces(thread_id: str, namespaces: Collection[str]) -> Operation[None]:
    """Delete all rows of some namespaces."""
    for sql in DELETE_NAMESPACES:
        yield Statement(sql, (thread_id, list(namespaces)), once=True)


class RunSearch:
    """Finds the checkpoints of runs and deletes them, in one transaction: readers are in nobody's way."""

    ended = True

    def __init__(self, tables: PostgresTables, run_ids: Iterable[str]) -> None:
        self._tables = tables
        self._run_ids = as_ids(run_ids)

    def page(self) -> Operation[None]:
        """Read nothing before the transaction."""
        yield from ()

    def delete(self) -> Operation[None]:
        """Delete the checkpoints of the runs. Raises HistoryNeeded, before anything is deleted."""
        found: list[Row] = []
        if self._run_ids:
            found = yield Statement(RUNS, (list(self._run_ids),))
        yield from delete(self._tables, found)


def _key(thread_id: str, checkpoint_ns: str, **others: Any) -> dict[str, Any]:
    return {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, **others}
