"""Which threads fulfil criteria, and what each holds: one pass over each table, which the server plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checkpoints.snapshot import id_time
from checkpoints.statements import Operation, Row, Statement
from checkpoints.stores.budget import LISTED, LISTED_WRITES
from checkpoints.stores.postgres.places import is_storable
from checkpoints.stores.postgres.rows import checkpoint_rows, write_rows
from checkpoints.stores.postgres.search import forms
from checkpoints.stores.selection import Head, ThreadKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores.postgres.schema import Schema
    from checkpoints.stores.selection import Criteria, Part

_BEGINS = "starts_with(thread_id, %(prefix)s::text)"
# UNION of distinct ids: each is found by an index alone where there is one to read.
_EVERY = """
SELECT thread_id FROM checkpoints WHERE {begins}
UNION SELECT thread_id FROM checkpoint_writes WHERE {begins}
UNION SELECT thread_id FROM checkpoint_blobs WHERE {begins}
""".replace("{begins}", _BEGINS)
_EXISTING = """
SELECT wanted FROM unnest(%(ids)s::text[]) AS wanted
WHERE EXISTS (SELECT FROM checkpoints WHERE thread_id = wanted)
   OR EXISTS (SELECT FROM checkpoint_writes WHERE thread_id = wanted)
   OR EXISTS (SELECT FROM checkpoint_blobs WHERE thread_id = wanted)
"""
# Containment has an index to use, and finds more than equality where values are nested.
_MATCHING = """
SELECT DISTINCT thread_id FROM checkpoints
WHERE (metadata @> jsonb_build_object(%(key)s::text, %(text)s::jsonb)
       OR metadata @> jsonb_build_object(%(key)s::text, %(json)s::jsonb))
  AND metadata -> %(key)s::text IN (%(text)s::jsonb, %(json)s::jsonb)
  AND {begins} AND (%(ids)s::text[] IS NULL OR thread_id = ANY(%(ids)s::text[]))
""".replace("{begins}", _BEGINS)
# Not a join, for which all of a table would be sorted, values and all.
_NEWEST = """
SELECT thread_id, max(checkpoint_id) FROM {table} WHERE thread_id = ANY(%(ids)s::text[]) GROUP BY thread_id
"""
# A row that is put again has the number of another transaction.
_PARTS = """
SELECT thread_id, checkpoint_ns, count(*), sum({size})::int8, {newest}, sum(xmin::text::int8)::int8
FROM {table} WHERE thread_id = ANY(%(ids)s::text[]) GROUP BY thread_id, checkpoint_ns
"""
# A group for each of many threads, without files of its own.
_ROOM = "SET LOCAL work_mem = '32MB'"
_NEWEST_ID = "max(checkpoint_id)"
_TABLES = (  # each with the bytes of a row and the newest of the checkpoints
    ("checkpoints", "pg_column_size(checkpoint) + pg_column_size(metadata)", _NEWEST_ID),
    ("checkpoint_writes", "coalesce(octet_length(blob), 0)", _NEWEST_ID),
    ("checkpoint_blobs", "coalesce(octet_length(blob), 0)", "''::text"),
)
_HEADS = """
SELECT k.thread, ends.ns, (
    SELECT checkpoint_id FROM checkpoints WHERE thread_id = k.thread AND checkpoint_ns = ends.ns
    ORDER BY checkpoint_id DESC LIMIT 1
)
FROM unnest(%(ids)s::text[]) AS k (thread)
CROSS JOIN LATERAL (
    SELECT CASE WHEN EXISTS (SELECT FROM checkpoints WHERE thread_id = k.thread AND checkpoint_ns = '')
           THEN '' ELSE (SELECT checkpoint_ns FROM checkpoints WHERE thread_id = k.thread
                         ORDER BY checkpoint_ns DESC LIMIT 1) END AS ns
) ends
WHERE ends.ns IS NOT NULL
"""


def existing(keys: Sequence[ThreadKey]) -> Operation[list[ThreadKey]]:
    """Return those of these threads of which there is a row."""
    found = {id for (id,) in (yield Statement(_EXISTING, {"ids": _ids(keys)}, once=True))}
    return [key for key in keys if key.text in found]


def candidates(criteria: Criteria) -> Operation[list[ThreadKey]]:
    """List the threads that begin like the prefix; where metadata are asked for, those that have them."""
    if not is_storable(criteria.prefix, *(text for pair in criteria.metadata for text in pair)):
        return []
    yield Statement(_ROOM)
    if criteria.metadata:
        return [ThreadKey.of_text(id) for id in (yield from _matching(criteria))]
    rows = yield Statement(_EVERY, {"prefix": criteria.prefix}, once=True)
    return [ThreadKey.of_text(id) for (id,) in rows]


def narrowed(keys: Sequence[ThreadKey], criteria: Criteria) -> Operation[list[ThreadKey]]:
    """Return those of these threads of which the age and the metadata hold."""
    ids = _ids(keys)
    if criteria.idle_since is not None and ids:
        newest: dict[str, str] = {}
        yield Statement(_ROOM)
        for table in ("checkpoint_writes", "checkpoints"):
            newest |= dict((yield Statement(_NEWEST.replace("{table}", table), {"ids": ids})))
        times = {id: id_time(last) for id, last in newest.items()}
        ids = [id for id in ids if (at := times.get(id)) and at <= criteria.idle_since]
    if criteria.thread_ids and criteria.metadata:
        if not is_storable(*(text for pair in criteria.metadata for text in pair)):
            return []
        matching = yield from _matching(criteria, ids)
        ids = [id for id in ids if id in matching]
    return [ThreadKey.of_text(id) for id in ids]


def tallied(place: int, keys: Sequence[ThreadKey]) -> Operation[list[Row]]:
    """Add up what one table has of these threads, by namespace."""
    table, size, newest = _TABLES[place]
    sql = _PARTS.replace("{table}", table).replace("{size}", size).replace("{newest}", newest)
    yield Statement(_ROOM)
    return (yield Statement(sql, {"ids": _ids(keys)}, once=True))


def gather(found: dict[str, list[Part]], place: int, rows: Sequence[Row]) -> None:
    """Sort the rows of a table by thread."""
    for id, ns, count, size, newest, stamp in rows:
        found.setdefault(id, []).append((place, ns, count, size, newest, stamp))


def heads(schema: Schema, keys: Sequence[ThreadKey]) -> Operation[list[Head]]:
    """Read the head of each of these threads as the list of threads does."""
    ends = [tuple(end) for end in (yield Statement(_HEADS, {"ids": _ids(keys)}))]
    rows = yield from checkpoint_rows(ends, LISTED)
    writes = yield from write_rows(rows, LISTED_WRITES, schema)
    found = {place[0]: (row, writes.get(place, ())) for place, row in rows.items()}
    return [Head(key, *found.get(key.text or "", (None, ()))) for key in keys]


def _matching(criteria: Criteria, ids: list[str] | None = None) -> Operation[dict[str, None]]:
    """Return the threads, of these if any are given, that begin so and have each pair in some checkpoint."""
    found: dict[str, None] | None = None
    for key, value in criteria.metadata:
        text, as_json = forms(value)
        wanted: dict[str, Any] = {"key": key, "text": text, "json": as_json, "prefix": criteria.prefix}
        rows = yield Statement(_MATCHING, {**wanted, "ids": ids}, once=True)
        found = {id: None for (id,) in rows if found is None or id in found}
    return found or {}


def _ids(keys: Sequence[ThreadKey]) -> list[str]:
    """Return the ids of these threads, without those that no row can have."""
    return [text for key in keys if (text := key.text) is not None and is_storable(text)]
