"""What the list of threads shows of each, and the namespaces of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.errors import ThreadNotFound
from checkpoints.sqlite.driver import Operation, Statement
from checkpoints.stores.listing import Entry, Listing, listing
from checkpoints.stores.records import NamespaceRow, Search, ThreadPage, ThreadRow
from checkpoints.stores.rows import KIB, MIB, Budget, Key, checkpoint_rows, write_rows
from checkpoints.stores.search import metadata_listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores.schema import Schema

CHECKPOINT_BUDGET = Budget(256 * KIB, 16 * MIB)
WRITE_BUDGET = Budget(64 * KIB, 8 * MIB)
MOST_NAMESPACES = 10_000

# One pass along the primary key; the ends are those of the root namespace, or NULL.
_EXTENT = """
SELECT ifnull(sum(size), 0), count(*), CAST(max(checkpoint_ns) AS TEXT),
       CAST(max(CASE checkpoint_ns WHEN '' THEN head END) AS TEXT),
       CAST(max(CASE checkpoint_ns WHEN '' THEN first END) AS TEXT)
FROM (SELECT checkpoint_ns, count(*) AS size, max(checkpoint_id) AS head, min(checkpoint_id) AS first
      FROM checkpoints WHERE thread_id = ?1 GROUP BY checkpoint_ns)
"""
_ENDS = """
SELECT CAST(max(checkpoint_id) AS TEXT), CAST(min(checkpoint_id) AS TEXT)
FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2
"""
_NAMESPACES = """
SELECT CAST(checkpoint_ns AS TEXT), count(*),
       CAST(max(checkpoint_id) AS TEXT), CAST(min(checkpoint_id) AS TEXT)
FROM checkpoints WHERE thread_id = ?1 GROUP BY checkpoint_ns LIMIT ?2
"""
_WRITTEN_NAMESPACES = """
WITH RECURSIVE named(ns) AS (
    SELECT min(checkpoint_ns) FROM {writes} WHERE thread_id = ?1
    UNION ALL
    SELECT (SELECT min(checkpoint_ns) FROM {writes} WHERE thread_id = ?1 AND checkpoint_ns > ns)
    FROM named WHERE ns IS NOT NULL
    LIMIT ?2
)
SELECT CAST(ns AS TEXT), 0,
       (SELECT CAST(max(checkpoint_id) AS TEXT) FROM {writes} WHERE thread_id = ?1 AND checkpoint_ns = ns),
       (SELECT CAST(min(checkpoint_id) AS TEXT) FROM {writes} WHERE thread_id = ?1 AND checkpoint_ns = ns)
FROM named WHERE ns IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a thread goes: its counts, and the ends of its root namespace or else of its greatest one."""

    checkpoints: int
    namespaces: int
    head: Key
    first: Key


def page(schema: Schema, search: Search | None, before: int | None, limit: int) -> Operation[ThreadPage]:
    """Read a page of threads, those of a search if there is one."""
    found: Listing
    if search and search.metadata:
        found = yield from metadata_listing(schema, search, before, limit)
    else:
        needle = (search and search.thread_id) or ""
        found = yield from listing(schema, needle, before, limit)
    threads = yield from _threads(schema, found.entries)
    return ThreadPage(threads, found.before, found.bound)


def namespaces(schema: Schema, thread_id: str) -> Operation[tuple[NamespaceRow, ...]]:
    """Count a thread's checkpoints by namespace; those of orphaned writes have none."""
    rows: dict[str, NamespaceRow] = {}
    for sql in (schema.sql(_WRITTEN_NAMESPACES), _NAMESPACES):
        for row in (yield Statement(sql, (thread_id, MOST_NAMESPACES))):
            rows[row[0]] = NamespaceRow(*row)
    if not rows:
        raise ThreadNotFound("There is no such thread in this store.")
    return tuple(rows[ns] for ns in sorted(rows))


def _threads(schema: Schema, entries: Sequence[Entry]) -> Operation[tuple[ThreadRow, ...]]:
    extents: dict[Entry, Extent] = {}
    for entry in entries:
        extents[entry] = yield from _extent(entry.thread_id)
    heads = [extent.head for extent in extents.values() if extent.checkpoints]
    firsts = [extent.first for extent in extents.values() if extent.checkpoints]
    checkpoints = yield from checkpoint_rows(dict.fromkeys(heads + firsts), CHECKPOINT_BUDGET)
    writes = yield from write_rows(heads, WRITE_BUDGET, schema)
    return tuple(
        ThreadRow(
            thread_id=entry.thread_id,
            checkpoints=extent.checkpoints,
            namespaces=extent.namespaces,
            activity=entry.activity,
            head=checkpoints.get(extent.head),
            first=checkpoints.get(extent.first),
            head_writes=writes.get(extent.head, ()),
        )
        for entry, extent in extents.items()
    )


def _extent(thread_id: str) -> Operation[Extent]:
    [(checkpoints, namespaces, ns, head, first)] = yield Statement(_EXTENT, (thread_id,))
    if head is not None:
        ns = ""
    elif checkpoints:
        [(head, first)] = yield Statement(_ENDS, (thread_id, ns))
    return Extent(checkpoints, namespaces, (thread_id, ns, head), (thread_id, ns, first))
