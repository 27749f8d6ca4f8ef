"""What the list of threads shows of each, and the namespaces of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.errors import ThreadNotFound
from checkpoints.statements import Operation, Statement
from checkpoints.stores.budget import (
    LEAST_COUNTED,
    LISTED,
    LISTED_WRITES,
    MOST_COUNTED,
    MOST_COUNTED_IN_ALL,
    MOST_NAMESPACES,
    NAMESPACES_COUNTED,
)
from checkpoints.stores.records import NamespaceRow, Search, ThreadPage, ThreadRow
from checkpoints.stores.sqlite.listing import Entry, Listing, key_place, listing
from checkpoints.stores.sqlite.rows import (
    FIRST,
    HEAD,
    StoredId,
    checkpoint_rows,
    write_rows,
)
from checkpoints.stores.sqlite.search import metadata_listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores.sqlite.schema import Schema

ANY = StoredId("")

# All of it seeks, or stops at a bound: a thread of a million rows costs what one of ten thousand does.
_EXTENT = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM checkpoints WHERE thread_id = ?1 LIMIT ?2 + 1)),
       (SELECT CAST(min(checkpoint_ns) AS TEXT) FROM checkpoints WHERE thread_id = ?1),
       (SELECT CAST(max(checkpoint_ns) AS TEXT) FROM checkpoints WHERE thread_id = ?1)
"""
_NAMED = """
WITH RECURSIVE named(ns) AS (
    SELECT min(checkpoint_ns) FROM {table} WHERE thread_id = ?1
    UNION ALL
    SELECT (SELECT min(checkpoint_ns) FROM {table} WHERE thread_id = ?1 AND checkpoint_ns > ns)
    FROM named WHERE ns IS NOT NULL
    LIMIT ?2 + 1
)
"""
_COUNT_NAMESPACES = "{named} SELECT count(ns) FROM named".replace("{named}", _NAMED)
_NAMESPACES = """
{named}
SELECT CAST(ns AS TEXT), {count},
       (SELECT CAST(max(checkpoint_id) AS TEXT) FROM {table} WHERE thread_id = ?1 AND checkpoint_ns = ns),
       (SELECT CAST(min(checkpoint_id) AS TEXT) FROM {table} WHERE thread_id = ?1 AND checkpoint_ns = ns)
FROM named WHERE ns IS NOT NULL
""".replace("{named}", _NAMED)
_COUNT = """
(SELECT count(*) FROM (SELECT 1 FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ns LIMIT ?3 + 1))
"""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a thread goes: its counts, and the namespace that stands for it."""

    checkpoints: int
    namespaces: int
    ns: str | None
    at_least: bool


def page(schema: Schema, search: Search | None, before: str | None, limit: int) -> Operation[ThreadPage]:
    """Read a page of threads, those of a search if there is one."""
    found: Listing
    place = key_place(before)
    if search and search.metadata:
        found = yield from metadata_listing(schema, search, place, limit)
    else:
        needle = (search and search.thread_id) or ""
        found = yield from listing(schema, needle, place, limit)
    threads = yield from _threads(schema, found.entries)
    before = None if found.before is None else str(found.before)
    return ThreadPage(threads, before, found.bound)


def namespaces(schema: Schema, thread_id: str) -> Operation[tuple[NamespaceRow, ...]]:
    """Count a thread's checkpoints by namespace; those of orphaned writes have none."""
    sql = schema.sql(_NAMESPACES, table=schema.sql("{writes}"), count="0")
    orphaned = yield Statement(sql, (thread_id, MOST_NAMESPACES))
    [(number,)] = yield Statement(_COUNT_NAMESPACES.format(table="checkpoints"), (thread_id, MOST_NAMESPACES))
    most = min(MOST_COUNTED, max(LEAST_COUNTED, MOST_COUNTED_IN_ALL // max(number, 1)))
    sql = _NAMESPACES.format(table="checkpoints", count=_COUNT)
    counted = yield Statement(sql, (thread_id, MOST_NAMESPACES, most))
    rows = {
        ns: NamespaceRow(ns, min(count, most), head, first, at_least=count > most)
        for ns, count, head, first in (*orphaned, *counted)
    }
    if not rows:
        raise ThreadNotFound("There is no such thread in this store.")
    return tuple(rows[ns] for ns in sorted(rows))


def _threads(schema: Schema, entries: Sequence[Entry]) -> Operation[tuple[ThreadRow, ...]]:
    extents: dict[Entry, Extent] = {}
    for entry in entries:
        extents[entry] = yield from _extent(entry.thread_id)
    ends = [(entry.thread_id, at.ns, ANY) for entry, at in extents.items() if at.ns is not None]
    heads = yield from checkpoint_rows(ends, LISTED, HEAD)
    firsts = yield from checkpoint_rows(ends, LISTED, FIRST)
    writes = yield from write_rows(heads, LISTED_WRITES, schema)
    head_of = {key[0]: key for key in heads}
    first_of = {row.thread_id: row for row in firsts.values()}
    return tuple(
        ThreadRow(
            thread_id=entry.thread_id,
            checkpoints=extent.checkpoints,
            namespaces=extent.namespaces,
            activity=str(entry.activity),
            head=heads[head_of[entry.thread_id]] if entry.thread_id in head_of else None,
            first=first_of.get(entry.thread_id),
            head_writes=writes.get(head_of[entry.thread_id], ()) if entry.thread_id in head_of else (),
            at_least=extent.at_least,
        )
        for entry, extent in extents.items()
    )


def _extent(thread_id: str) -> Operation[Extent]:
    [(count, least, greatest)] = yield Statement(_EXTENT, (thread_id, MOST_COUNTED))
    namespaces = min(count, 1)
    if least != greatest:
        sql = _COUNT_NAMESPACES.format(table="checkpoints")
        [(namespaces,)] = yield Statement(sql, (thread_id, NAMESPACES_COUNTED))
    return Extent(
        checkpoints=min(count, MOST_COUNTED),
        namespaces=min(namespaces, NAMESPACES_COUNTED),
        ns="" if least == "" else greatest,
        at_least=count > MOST_COUNTED or namespaces > NAMESPACES_COUNTED,
    )
