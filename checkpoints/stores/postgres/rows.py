"""The SQL that fetches rows within a budget of bytes, and the records made of them.

One statement fetches a page. It is driven by the page's keys, each looked up by primary key in a LATERAL of
its own, as a join may be planned to read a whole thread: 1.4 s in one of 20,000 checkpoints, measured. Sizes
are compared before values: `octet_length` of a BYTEA leaves what is stored out of line where it is.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from checkpoints.statements import Operation, Statement
from checkpoints.stores.budget import METADATA_BYTES, MOST_WRITES, NAME_CHARACTERS, Budget
from checkpoints.stores.records import ChannelRow, CheckpointRow, WriteRow

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from checkpoints.stores.postgres.schema import Schema

Key: TypeAlias = tuple[str, str, str]
"""Thread id, namespace and checkpoint id."""
MOST_CHANNELS = 5_000  # of one checkpoint

_KEYS = """
unnest(%(threads)s::text[], %(namespaces)s::text[], %(ids)s::text[])
WITH ORDINALITY AS k(thread, ns, id, place)
"""
# JSON has no size but its text's. What is stored compressed in less than the budget may still be much more.
_CHECKPOINTS = """
WITH found AS MATERIALIZED (
    SELECT k.place, left(c.parent_checkpoint_id, {name}) AS parent,
           CASE WHEN pg_column_size(c.checkpoint) <= %(row)s THEN c.checkpoint::text END AS document,
           CASE WHEN pg_column_size(c.metadata) <= %(metadata)s THEN c.metadata::text END AS metadata,
           pg_column_size(c.checkpoint) AS stored
    FROM {keys}
    CROSS JOIN LATERAL (
        SELECT * FROM checkpoints
        WHERE thread_id = k.thread AND checkpoint_ns = k.ns AND checkpoint_id = k.id LIMIT 1
    ) c
), fitting AS (
    SELECT place, parent, stored, octet_length(document) AS size,
           CASE WHEN octet_length(document) <= %(row)s THEN document END AS document,
           CASE WHEN octet_length(metadata) <= %(metadata)s THEN metadata END AS metadata
    FROM found
), weighed AS (
    SELECT *, sum(coalesce(octet_length(document), 0) + coalesce(octet_length(metadata), 0))
              OVER (ORDER BY place) <= %(page)s AS fits
    FROM fitting
)
SELECT place, parent, CASE WHEN fits THEN document END, CASE WHEN fits THEN metadata END,
       coalesce(size, stored)
FROM weighed ORDER BY place
""".replace("{keys}", _KEYS).replace("{name}", str(NAME_CHARACTERS))
# The same value is of many checkpoints, and comes once. A version is looked up as the text of its JSON.
_CHANNELS = (
    """
WITH wanted AS MATERIALIZED (
    SELECT k.thread, k.ns, v.key AS channel, v.value AS version,
           min(k.place) AS place, array_agg(k.place) AS places
    FROM {keys}
    CROSS JOIN LATERAL (
        SELECT checkpoint -> 'channel_versions' AS versions FROM checkpoints
        WHERE thread_id = k.thread AND checkpoint_ns = k.ns AND checkpoint_id = k.id
          AND pg_column_size(checkpoint) <= %(row)s LIMIT 1
    ) c
    CROSS JOIN LATERAL (
        SELECT * FROM jsonb_each_text(
            CASE WHEN jsonb_typeof(c.versions) = 'object' THEN c.versions ELSE '{}' END
        ) LIMIT {channels}
    ) v
    GROUP BY k.thread, k.ns, v.key, v.value
), found AS MATERIALIZED (
    SELECT w.place, w.places, left(w.channel, {name}) AS channel,
           left(b.type, {name}) AS type, coalesce(octet_length(b.blob), 0) AS size, b.blob
    FROM wanted w
    CROSS JOIN LATERAL (
        SELECT type, blob FROM checkpoint_blobs
        WHERE thread_id = w.thread AND checkpoint_ns = w.ns AND channel = w.channel AND version = w.version
        LIMIT 1
    ) b
    WHERE b.type <> 'empty'
), weighed AS (
    SELECT *, size <= %(row)s
              AND sum(CASE WHEN size <= %(row)s THEN size ELSE 0 END)
                  OVER (ORDER BY place, channel ROWS UNBOUNDED PRECEDING) <= %(page)s AS fits
    FROM found
)
SELECT places, channel, type, CASE WHEN fits THEN blob END, size, NOT fits FROM weighed
ORDER BY place, channel
""".replace("{keys}", _KEYS)
    .replace("{name}", str(NAME_CHARACTERS))
    .replace("{channels}", str(MOST_CHANNELS))
)
_WRITES = """
WITH found AS MATERIALIZED (
    SELECT k.place, w.*, octet_length(w.blob) AS size
    FROM {keys}
    CROSS JOIN LATERAL (
        SELECT left(task_id, {name}) AS task_id,
               left({task_path}, {name}) AS task_path, idx,
               left(channel, {name}) AS channel, left(type, {name}) AS type, blob
        FROM checkpoint_writes
        WHERE thread_id = k.thread AND checkpoint_ns = k.ns AND checkpoint_id = k.id
        LIMIT %(room)s
    ) w
    LIMIT %(room)s
), weighed AS (
    SELECT *, size <= %(row)s
              AND sum(CASE WHEN size <= %(row)s THEN size ELSE 0 END)
                  OVER (ORDER BY place ROWS UNBOUNDED PRECEDING) <= %(page)s AS fits
    FROM found
)
SELECT place, task_id, task_path, idx, channel, type, CASE WHEN fits THEN blob END, size, NOT fits
FROM weighed
""".replace("{keys}", _KEYS).replace("{name}", str(NAME_CHARACTERS))


def checkpoint_rows(keys: Collection[Key], budget: Budget) -> Operation[dict[Key, CheckpointRow]]:
    """Fetch those of these checkpoints that there are, in the order of the keys."""
    if not keys:
        return {}
    at = list(keys)
    channels = yield from _channels(at, budget)
    rows = yield Statement(_CHECKPOINTS, {**_parameters(at, budget), "metadata": METADATA_BYTES})
    found: dict[Key, CheckpointRow] = {}
    for place, parent, document, metadata, size in rows:
        thread_id, ns, id = at[place - 1]
        stored = channels.get(place, [])
        found[thread_id, ns, id] = CheckpointRow(
            thread_id,
            ns,
            id,
            parent_checkpoint_id=parent,
            type="jsonb",
            blob=None if document is None else document.encode(),
            metadata=metadata,
            size=size + sum(channel.size for channel in stored),
            skipped=document is None,
            metadata_skipped=metadata is None,
            channels=tuple(stored),
        )
    return found


def write_rows(
    keys: Collection[Key], budget: Budget, schema: Schema
) -> Operation[dict[Key, tuple[WriteRow, ...]]]:
    """Fetch the writes of these checkpoints, each in the saver's order, and at most `MOST_WRITES` of all."""
    if not keys:
        return {}
    at = list(keys)
    rows = yield Statement(schema.sql(_WRITES), {**_parameters(at, budget), "room": MOST_WRITES})
    found: dict[Key, list[WriteRow]] = {}
    for place, *stored in rows:
        key = at[place - 1]
        found.setdefault(key, []).append(WriteRow(key[2], *stored))
    order = attrgetter("task_path", "task_id", "idx")
    return {key: tuple(sorted(found[key], key=order)) for key in at if key in found}


def _channels(at: Sequence[Key], budget: Budget) -> Operation[dict[int, list[ChannelRow]]]:
    """Fetch the values that these checkpoints have outside their document, by the checkpoint's place."""
    found: dict[int, list[ChannelRow]] = {}
    for places, *stored in (yield Statement(_CHANNELS, _parameters(at, budget))):
        channel = ChannelRow(*stored)
        for place in places:
            found.setdefault(place, []).append(channel)
    return found


def _parameters(at: Sequence[Key], budget: Budget) -> dict[str, Any]:
    threads, namespaces, ids = map(list, zip(*at, strict=True))
    return {"threads": threads, "namespaces": namespaces, "ids": ids, "row": budget.row, "page": budget.page}
