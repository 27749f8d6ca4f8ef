"""What the list of threads shows of each, and the namespaces of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from checkpoints.errors import ThreadNotFound
from checkpoints.sqlite.driver import Operation, Statement
from checkpoints.stores.listing import Entry, Listing, listing
from checkpoints.stores.records import NamespaceRow, Search, ThreadPage, ThreadRow
from checkpoints.stores.rows import KIB, MIB, Budget, Keys, checkpoint_rows, text, write_rows
from checkpoints.stores.search import metadata_listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores.schema import Schema

CHECKPOINT_BUDGET = Budget(256 * KIB, 16 * MIB)
WRITE_BUDGET = Budget(64 * KIB, 8 * MIB)
MOST_NAMESPACES = 10_000

_BY_ROWID = "SELECT c.thread_id FROM json_each(?{n}) p CROSS JOIN checkpoints c ON c.rowid = p.value"
_BY_ID = "SELECT value AS thread_id FROM json_each(?{n})"
_COUNTS = """
SELECT c.thread_id, count(*), count(DISTINCT c.checkpoint_ns)
FROM ({picked}) p CROSS JOIN checkpoints c ON c.thread_id = p.thread_id GROUP BY c.thread_id
"""
_NAMESPACE = """
SELECT thread_id,
       CASE WHEN (SELECT min(checkpoint_ns) FROM checkpoints c WHERE c.thread_id = p.thread_id) = '' THEN ''
            ELSE (SELECT max(checkpoint_ns) FROM checkpoints c WHERE c.thread_id = p.thread_id)
       END AS checkpoint_ns
FROM ({picked}) p
"""
_HEADS = """
SELECT thread_id, checkpoint_ns,
       (SELECT max(checkpoint_id) FROM checkpoints c
        WHERE c.thread_id = n.thread_id AND c.checkpoint_ns = n.checkpoint_ns) AS checkpoint_id
FROM ({namespace}) n
"""
_ENDS = """
SELECT thread_id, checkpoint_ns, checkpoint_id FROM ({heads})
UNION
SELECT thread_id, checkpoint_ns,
       (SELECT min(checkpoint_id) FROM checkpoints c
        WHERE c.thread_id = n.thread_id AND c.checkpoint_ns = n.checkpoint_ns)
FROM ({namespace}) n
"""
_NAMESPACES = """
SELECT checkpoint_ns, count(*), max(checkpoint_id), min(checkpoint_id)
FROM {table} WHERE thread_id = ?1 GROUP BY checkpoint_ns LIMIT ?2
"""


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
    rows = {}
    for table in (schema.sql("{writes}"), "checkpoints"):
        stored = yield Statement(_NAMESPACES.format(table=table), (thread_id, MOST_NAMESPACES))
        for ns, count, head, first in stored:
            rows[text(ns)] = NamespaceRow(text(ns), count * (table == "checkpoints"), text(head), text(first))
    if not rows:
        raise ThreadNotFound("There is no such thread in this store.")
    return tuple(rows[ns] for ns in sorted(rows))


def _threads(schema: Schema, entries: Sequence[Entry]) -> Operation[tuple[ThreadRow, ...]]:
    picked, chosen = _pick(schema, entries)
    rows = yield Statement(_COUNTS.format(picked=picked.format(n=1)), (chosen,))
    counts = {text(thread_id): (checkpoints, namespaces) for thread_id, checkpoints, namespaces in rows}
    namespace = _NAMESPACE.format(picked=picked.format(n=3))
    heads = _HEADS.format(namespace=namespace)
    ends = yield from checkpoint_rows(
        Keys(_ENDS.format(heads=heads, namespace=namespace), (chosen,)), CHECKPOINT_BUDGET
    )
    writes = yield from write_rows(Keys(heads, (chosen,)), WRITE_BUDGET, schema)
    head = {row.thread_id: row for row in reversed(ends)}
    first = {row.thread_id: row for row in ends}

    def thread(entry: Entry) -> ThreadRow:
        latest = head.get(entry.thread_id)
        checkpoints, namespaces = counts.get(entry.thread_id, (0, 0))
        return ThreadRow(
            thread_id=entry.thread_id,
            checkpoints=checkpoints,
            namespaces=namespaces,
            activity=entry.activity,
            head=latest,
            first=first.get(entry.thread_id),
            head_writes=writes.get((entry.thread_id, latest.checkpoint_id), ()) if latest else (),
        )

    return tuple(thread(entry) for entry in entries)


def _pick(schema: Schema, entries: Sequence[Entry]) -> tuple[str, str]:
    """Name the threads to SQL by a row of each, which spells any id exactly, where there are rowids."""
    if schema.rowid:
        return _BY_ROWID, json.dumps([entry.activity for entry in entries])
    return _BY_ID, json.dumps([entry.thread_id for entry in entries])
