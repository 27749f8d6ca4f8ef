"""What the list of threads shows of each, and the namespaces of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
from checkpoints.stores.postgres.listing import hint, listing
from checkpoints.stores.postgres.places import NAMED, Place
from checkpoints.stores.postgres.rows import Key, checkpoint_rows, write_rows
from checkpoints.stores.postgres.search import metadata_listing
from checkpoints.stores.records import NamespaceRow, Search, ThreadPage, ThreadRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores.postgres.schema import Schema

# All of it seeks, or stops at a bound: a thread of a million rows costs what one of ten thousand does.
_EXTENTS = """
SELECT counted.checkpoints, ({named} SELECT count(*) FROM (
           SELECT FROM named WHERE ns IS NOT NULL LIMIT %(namespaces)s
       ) n), ends.ns,
       (SELECT checkpoint_id FROM checkpoints WHERE thread_id = k.thread AND checkpoint_ns = ends.ns
        ORDER BY checkpoint_id DESC LIMIT 1),
       (SELECT checkpoint_id FROM checkpoints WHERE thread_id = k.thread AND checkpoint_ns = ends.ns
        ORDER BY checkpoint_id LIMIT 1)
FROM unnest(%(threads)s::text[]) WITH ORDINALITY AS k(thread, place)
CROSS JOIN LATERAL (
    SELECT count(*) AS checkpoints
    FROM (SELECT FROM checkpoints WHERE thread_id = k.thread LIMIT %(checkpoints)s) c
) counted
CROSS JOIN LATERAL (
    SELECT CASE WHEN EXISTS (SELECT FROM checkpoints WHERE thread_id = k.thread AND checkpoint_ns = '')
           THEN '' ELSE (SELECT checkpoint_ns FROM checkpoints WHERE thread_id = k.thread
                         ORDER BY checkpoint_ns DESC LIMIT 1) END AS ns
) ends
ORDER BY k.place
""".replace("{named}", NAMED.format(table="checkpoints", thread="k.thread"))
_COUNT_NAMESPACES = """
{named} SELECT count(*) FROM (SELECT FROM named WHERE ns IS NOT NULL LIMIT %(namespaces)s) n
""".replace("{named}", NAMED.format(table="checkpoints", thread="%(thread)s"))
_NAMESPACES = """
{named}
SELECT ns, (SELECT count(*) FROM (
           SELECT FROM checkpoints WHERE thread_id = %(thread)s AND checkpoint_ns = ns LIMIT %(most)s
       ) c),
       (SELECT checkpoint_id FROM {table} WHERE thread_id = %(thread)s AND checkpoint_ns = ns
        ORDER BY checkpoint_id DESC LIMIT 1),
       (SELECT checkpoint_id FROM {table} WHERE thread_id = %(thread)s AND checkpoint_ns = ns
        ORDER BY checkpoint_id LIMIT 1)
FROM (SELECT ns FROM named WHERE ns IS NOT NULL LIMIT %(namespaces)s) n
"""


class Extent(NamedTuple):
    """How far a thread goes: its counts, the namespace that stands for it, and that one's ends."""

    checkpoints: int
    namespaces: int
    ns: str | None
    head: str | None
    first: str | None


def page(schema: Schema, search: Search | None, before: str | None, limit: int) -> Operation[ThreadPage]:
    """Read a page of threads, those of a search if there is one."""
    place = Place.of_key(before)
    if search and search.metadata:
        found, faster = yield from metadata_listing(schema, search, place, limit)
    else:
        needle = (search and search.thread_id) or ""
        found = yield from listing(schema, needle, place, limit)
        faster = None if needle else hint(schema)
    threads = yield from _threads(schema, found.entries)
    return ThreadPage(threads, found.before, found.bound, faster)


def namespaces(thread_id: str) -> Operation[tuple[NamespaceRow, ...]]:
    """Count a thread's checkpoints by namespace; those of orphaned writes have none."""
    wanted = {"thread": thread_id, "namespaces": MOST_NAMESPACES}
    [(number,)] = yield Statement(_COUNT_NAMESPACES, wanted)
    most = min(MOST_COUNTED, max(LEAST_COUNTED, MOST_COUNTED_IN_ALL // max(number, 1)))
    orphaned = yield Statement(_namespaces("checkpoint_writes"), {**wanted, "most": 0})
    counted = yield Statement(_namespaces("checkpoints"), {**wanted, "most": most + 1})
    rows = {
        ns: NamespaceRow(ns, min(count, most), head, first, at_least=count > most)
        for ns, count, head, first in (*orphaned, *counted)
    }
    if not rows:
        raise ThreadNotFound("There is no such thread in this store.")
    return tuple(rows[ns] for ns in sorted(rows))


def _namespaces(table: str) -> str:
    return _NAMESPACES.format(named=NAMED.format(table=table, thread="%(thread)s"), table=table)


def _threads(schema: Schema, entries: Sequence[Place]) -> Operation[tuple[ThreadRow, ...]]:
    if not entries:
        return ()
    wanted = {"checkpoints": MOST_COUNTED + 1, "namespaces": NAMESPACES_COUNTED + 1}
    rows = yield Statement(_EXTENTS, {"threads": [entry.thread_id for entry in entries], **wanted})
    extents = dict(zip(entries, (Extent(*row) for row in rows), strict=True))
    heads = {entry: key for entry, at in extents.items() if (key := _key(entry, at.ns, at.head))}
    firsts = {entry: key for entry, at in extents.items() if (key := _key(entry, at.ns, at.first))}
    found = yield from checkpoint_rows(dict.fromkeys((*heads.values(), *firsts.values())), LISTED)
    writes = yield from write_rows(heads.values(), LISTED_WRITES, schema)
    return tuple(
        ThreadRow(
            thread_id=entry.thread_id,
            checkpoints=min(extent.checkpoints, MOST_COUNTED),
            namespaces=min(extent.namespaces, NAMESPACES_COUNTED),
            activity=entry.key,
            head=found.get(heads[entry]) if entry in heads else None,
            first=found.get(firsts[entry]) if entry in firsts else None,
            head_writes=writes.get(heads[entry], ()) if entry in heads else (),
            at_least=extent.checkpoints > MOST_COUNTED or extent.namespaces > NAMESPACES_COUNTED,
        )
        for entry, extent in extents.items()
    )


def _key(entry: Place, ns: str | None, id: str | None) -> Key | None:
    return None if ns is None or id is None else (entry.thread_id, ns, id)
