"""Where the bytes of a database go: all rows of small tables, an even sample of the pages of large ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checkpoints.saver.needs import COUNTERS
from checkpoints.statements import Operation, Statement
from checkpoints.stores.postgres.listing import within
from checkpoints.stores.usage import (
    MOST_OF_THREAD,
    THREADS,
    TableUsage,
    ThreadUsage,
    Usage,
    channels,
    looked_at,
    namespaces,
)

if TYPE_CHECKING:
    from checkpoints.statements import Row
    from checkpoints.stores.postgres.schema import Schema

PAGES = 12_000  # of a table that are read, 100 MB
SECONDS = 1.5  # for one table; then a tenth of that
GROUPS = 400
HEADS = 1_000  # rows; where there are not more, what is kept is exact
DOCUMENTS = "states: small values, versions and ids"

_SIZES = {
    "checkpoints": "pg_column_size(checkpoint) + pg_column_size(metadata)",
    "checkpoint_blobs": "coalesce(octet_length(blob), 0)",
    "checkpoint_writes": "coalesce(octet_length(blob), 0)",
}
_DISK = """
SELECT coalesce(sum(pg_total_relation_size(part)), 0)::int8, coalesce(sum(pg_relation_size(part)), 0)::int8
FROM (SELECT to_regclass(%(name)s)::oid
      UNION SELECT relid FROM pg_partition_tree(to_regclass(%(name)s))) parts(part)
"""
_GROUPS = """
SELECT GROUPING(thread_id, kind, channel), thread_id, kind, channel, count(*), sum(size)::int8
FROM (SELECT thread_id, regexp_replace(checkpoint_ns, ':[^|]*', ':', 'g') AS kind, {channel} AS channel,
             {size} AS size
      FROM {table} TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (20)) held
GROUP BY GROUPING SETS ((thread_id), (kind), (channel), ())
ORDER BY 6 DESC NULLS LAST LIMIT {groups}
"""
_OF_THREAD = """
SELECT count(*), coalesce(sum(size), 0)::int8
FROM (SELECT {size} AS size FROM {table} WHERE thread_id = %(thread)s LIMIT %(most)s) held
"""
_HEAD_ID = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = %(thread)s"
# Each row stands for its share of the head of its namespace; of one call of a subgraph nothing is kept.
_KEPT = """
WITH met AS MATERIALIZED (
    SELECT thread_id, checkpoint_ns, metadata ? '{counters}' AS deltas
    FROM checkpoints TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (20)
    ORDER BY hashtext(thread_id || checkpoint_ns || checkpoint_id) LIMIT %(rows)s
)
SELECT count(*), bool_or(deltas),
       coalesce(sum(CASE WHEN position(':' IN checkpoint_ns) = 0 THEN kept::float8 / counted END), 0)::float8
FROM met CROSS JOIN LATERAL (
    SELECT count(*) AS counted FROM (
        SELECT 1 FROM checkpoints c
        WHERE c.thread_id = met.thread_id AND c.checkpoint_ns = met.checkpoint_ns LIMIT 1000) counting
) number CROSS JOIN LATERAL (
    SELECT {size} + coalesce((
        SELECT sum(octet_length(b.blob)) FROM jsonb_each_text(
            CASE jsonb_typeof(c.checkpoint -> 'channel_versions')
            WHEN 'object' THEN c.checkpoint -> 'channel_versions' ELSE '{{}}' END) v
        CROSS JOIN LATERAL (
            SELECT blob FROM checkpoint_blobs
            WHERE thread_id = met.thread_id AND checkpoint_ns = met.checkpoint_ns
              AND channel = v.key AND version = v.value OFFSET 0) b), 0) AS kept
    FROM checkpoints c WHERE c.thread_id = met.thread_id AND c.checkpoint_ns = met.checkpoint_ns
    ORDER BY c.checkpoint_id DESC LIMIT 1
) head
"""


@dataclass
class Met:
    """What was added up so far, each table's part of it in proportion to what was looked at."""

    tables: list[TableUsage] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)
    threads: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    kind_sizes: Counter[str] = field(default_factory=Counter)
    channels: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, table: str, rows: list[Row], share: float, disk: int) -> None:
        held = self.channels.setdefault(table, Counter())
        total = TableUsage(table, 0, 0, disk)
        for group, thread_id, kind, channel, count, size in rows:
            number, amount = round(count / share), round((size or 0) / share)
            match group:
                case 0b011:
                    self.threads[thread_id] += amount
                case 0b101:
                    self.kinds[kind] += number
                    self.kind_sizes[kind] += amount
                case 0b110 if channel is not None:
                    held[channel] += amount
                case 0b111:
                    total = TableUsage(table, number, amount, disk)
        self.tables.append(total)
        self.shares[table] = share


def usage(schema: Schema) -> Operation[Usage]:
    """Tell where the bytes go, within some seconds."""
    met = Met()
    for table in _SIZES:
        yield from _add(schema, table, met)
    checkpoints = met.tables[0]
    kept, deltas = yield from _kept(checkpoints.rows, met.shares["checkpoints"])
    content = sum(table.bytes for table in met.tables)
    return Usage(
        bytes=sum(table.disk or 0 for table in met.tables),
        free=None,
        tables=tuple(met.tables),
        threads=(yield from _threads([thread_id for thread_id, _ in met.threads.most_common(THREADS)])),
        namespaces=namespaces(met.kinds, met.kind_sizes),
        channels=channels(
            met.channels["checkpoint_blobs"],
            met.channels["checkpoint_writes"],
            [(DOCUMENTS, checkpoints.bytes)],
        ),
        freed=max(0, content - kept),
        states=None,
        deltas=deltas,
        bound=looked_at(met.shares),
    )


def _add(schema: Schema, table: str, met: Met) -> Operation[None]:
    [(disk, heap)] = yield Statement(_DISK, {"name": schema.names[table]})
    share = min(1.0, PAGES * 8192 / heap) if heap else 1.0
    channel = "NULL::text" if table == "checkpoints" else "channel"
    sql = _GROUPS.format(table=table, size=_SIZES[table], channel=channel, groups=GROUPS)
    rows = None
    for _ in range(3):
        rows = yield from within(SECONDS, Statement(sql, {"percent": share * 100}))
        if rows is not None:
            break
        share /= 10
    met.add(table, rows or [], share, disk)


def _kept(checkpoints: int, share: float) -> Operation[tuple[int, bool]]:
    """Return about how many bytes the newest checkpoints take, and whether there are DeltaChannels."""
    sql = _KEPT.format(size=_SIZES["checkpoints"].replace("(", "(c."), counters=COUNTERS)
    rows = HEADS if checkpoints <= HEADS else HEADS // 5
    found = yield from within(SECONDS, Statement(sql, {"percent": share * 100, "rows": rows}))
    if not found or not found[0][0]:
        return 0, False
    [(met, deltas, size)] = found
    return round(size / met * checkpoints), bool(deltas)


def _threads(thread_ids: list[str]) -> Operation[tuple[ThreadUsage, ...]]:
    found = []
    for thread_id in thread_ids:
        counts, size = {}, 0
        for table, of_row in _SIZES.items():
            sql = _OF_THREAD.format(table=table, size=of_row)
            [(counts[table], more)] = yield Statement(sql, {"thread": thread_id, "most": MOST_OF_THREAD + 1})
            size += more
        [(head_id,)] = yield Statement(_HEAD_ID, {"thread": thread_id})
        at_least = max(counts.values()) > MOST_OF_THREAD
        checkpoints = min(counts["checkpoints"], MOST_OF_THREAD)
        found.append(ThreadUsage(thread_id, checkpoints, size, head_id, at_least))
    return tuple(sorted(found, key=lambda thread: -thread.bytes))
