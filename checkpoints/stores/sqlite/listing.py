"""Which threads are on a page.

A thread stands where its last written row does. Nothing tells that row but all rows of the thread, so one
of more than `LONG` stands where the last written of its namespaces' heads does, of the first `NAMESPACES`.
That is the same row, unless ids and rows went different ways: a clock that went back, an old checkpoint that
was put again.

Walking the rows downwards finds a page of threads without looking at the rest of the store, as long as the
newest rows belong to enough of them. Where there are few threads at all, or the walk gets too long, every
thread's id is looked up, skipping from one to the next along the primary key. Both go by a thread's place
alone, so each thread is on one page, whichever way that was found.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from checkpoints.statements import Operation, Statement

if TYPE_CHECKING:
    from checkpoints.stores.sqlite.schema import Schema

GREATEST_ROWID = 2**63 - 1
LONG = 1_000  # checkpoints of a thread, 40 µs to count
NAMESPACES = 1_000
WALK = (400, 400, 800, 1_600, 3_200, 6_400, 7_200)  # rows by chunk; 20,000 in all
STEPS_BEFORE_FEW = 3  # chunks walked before it is worth asking whether there are few threads
FEW = 500  # thread ids, 1 ms to skip through
SCAN = 5_000  # thread ids by chunk
SCAN_SECONDS = 2.0
_KEY = re.compile(r"-?\d{1,19}", re.ASCII)

_WALK = """
SELECT max(rowid), CAST(thread_id AS TEXT), min(rowid), count(*)
FROM (SELECT rowid, thread_id FROM checkpoints
      WHERE rowid BETWEEN 1 AND ?1 ORDER BY rowid DESC LIMIT ?2)
GROUP BY thread_id ORDER BY max(rowid) DESC
"""
_PLACE = """
ifnull((SELECT CASE WHEN count(*) <= {long} THEN max(rowid) END
        FROM (SELECT rowid FROM checkpoints WHERE thread_id = {thread} LIMIT {long} + 1)),
       (WITH RECURSIVE named(ns) AS (
            SELECT min(checkpoint_ns) FROM checkpoints WHERE thread_id = {thread}
            UNION ALL
            SELECT (SELECT min(checkpoint_ns) FROM checkpoints
                    WHERE thread_id = {thread} AND checkpoint_ns > ns)
            FROM named WHERE ns IS NOT NULL
            LIMIT {namespaces}
        )
        SELECT max((SELECT rowid FROM checkpoints WHERE thread_id = {thread} AND checkpoint_ns = ns
                    ORDER BY checkpoint_id DESC LIMIT 1))
        FROM named))
"""
# The last row of a thread is its place, at any length, if it is the head of the root namespace: one seek.
_PLACES = """
SELECT p.value, CASE
    WHEN ?2 AND c.checkpoint_ns = '' AND NOT EXISTS (
        SELECT 1 FROM checkpoints
        WHERE thread_id = c.thread_id AND checkpoint_ns = '' AND checkpoint_id > c.checkpoint_id
    ) THEN c.rowid
    ELSE {place} END
FROM json_each(?1) p CROSS JOIN checkpoints c ON c.rowid = p.value
"""
_ORPHAN = "CASE WHEN NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = ids.thread_id) THEN 1 END"
_SCAN = """
WITH RECURSIVE ids(thread_id) AS (
    SELECT CASE WHEN ?1 IS NULL THEN (SELECT min(thread_id) FROM {table})
                ELSE (SELECT min(thread_id) FROM {table} WHERE thread_id > CAST(?1 AS TEXT)) END
    UNION ALL
    SELECT (SELECT min(thread_id) FROM {table} WHERE thread_id > ids.thread_id)
    FROM ids WHERE thread_id IS NOT NULL
    LIMIT ?2
)
SELECT CAST(thread_id AS BLOB), CASE WHEN instr(lower(thread_id), lower(?3)) THEN {key} END
FROM ids WHERE thread_id IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A thread's place in the list; threads that have only writes come last, below zero."""

    activity: int
    thread_id: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The threads of a page, the key that continues the list, and the bound that the read hit."""

    entries: list[Entry]
    before: int | None = None
    bound: str | None = None


def listing(schema: Schema, needle: str, before: int | None, limit: int) -> Operation[Listing]:
    """List the threads whose id contains the needle (ASCII letters in either case), latest first."""
    entries: list[Entry] | None = [] if before is not None and before <= 0 else None
    bound = None
    if entries is None and schema.rowid and not needle:
        entries = yield from _walk(schema, before, limit + 1)
    if entries is None:
        entries, bound = yield from _scan(schema, needle, before)
    if len(entries) <= limit:
        entries += yield from _orphans(schema, needle, before)
    more = len(entries) > limit
    return Listing(entries[:limit], entries[limit - 1].activity if more else None, bound)


def count_threads(schema: Schema, seconds: float) -> Operation[tuple[int, bool]]:
    """Count the threads that have checkpoints; and tell whether time ran out before the last."""
    found, bound = yield from _ids(schema.sql(_SCAN, table="checkpoints", key="1"), "", seconds)
    return len(found), bound is not None


def last_rows(schema: Schema) -> Operation[int]:
    """Add up the greatest rowids, which grow with every row that is written; 0 without rowids."""
    total = 0
    for table in ("checkpoints", "writes") if schema.writes else ("checkpoints",):
        if schema.rowid:
            [(rowid,)] = yield Statement(f"SELECT ifnull(max(rowid), 0) FROM {table}")  # noqa: S608
            total += rowid
    return total


def key_place(key: str | None) -> int | None:
    """Return the place of a key of paging, None for the first page and for what is no key."""
    return int(key) if key and _KEY.fullmatch(key) else None


def row_before(key: int | None) -> int:
    """Return the greatest rowid before a key of paging."""
    return GREATEST_ROWID if key is None else max(0, min(key - 1, GREATEST_ROWID))


def _walk(schema: Schema, before: int | None, wanted: int) -> Operation[list[Entry] | None]:
    """Walk the rows downwards. None when too many of them belong to too few of many threads."""
    top = row_before(before)
    entries: list[Entry] = []
    seen: set[str] = set()
    for step, size in enumerate(WALK):
        if step == STEPS_BEFORE_FEW and (yield from _are_few(schema)):
            return None
        rows = yield Statement(_WALK, (top, size))
        met = [(last, id) for last, id, *_ in rows if id is not None and id not in seen]
        seen.update(thread_id for _, thread_id in met)
        entries += yield from _placed(met, first=before is None)
        top = min((first for _, _, first, _ in rows), default=1) - 1
        if sum(count for *_, count in rows) < size:
            top = 0
        reached = sorted((e for e in entries if e.activity > top), key=attrgetter("activity"), reverse=True)
        if len(reached) >= wanted or not top:
            return reached[:wanted]
    return None


def _placed(met: list[tuple[int, str]], *, first: bool) -> Operation[list[Entry]]:
    """Return the places of threads by the last row that a walk met, without those that stand above it."""
    sql = _PLACES.format(place=_place("c.thread_id"))
    places: dict[int, int] = dict((yield Statement(sql, (json.dumps([rowid for rowid, _ in met]), first))))
    return [Entry(places[rowid], thread_id) for rowid, thread_id in met if places[rowid] <= rowid]


def _place(thread: str) -> str:
    return _PLACE.format(thread=thread, long=LONG, namespaces=NAMESPACES)


def _are_few(schema: Schema) -> Operation[bool]:
    sql = schema.sql(_SCAN, table="checkpoints", key="1")
    return len((yield Statement(sql, (None, FEW + 1, "")))) <= FEW


def _scan(schema: Schema, needle: str, before: int | None) -> Operation[tuple[list[Entry], str | None]]:
    key = _place("ids.thread_id") if schema.rowid else "1"
    found, bound = yield from _ids(schema.sql(_SCAN, table="checkpoints", key=key), needle, SCAN_SECONDS)
    if not schema.rowid:
        found = [(place, thread_id) for place, (_, thread_id) in enumerate(found, 1)]
    entries = [Entry(*row) for row in sorted(found, reverse=True) if before is None or row[0] < before]
    return entries, bound


def _orphans(schema: Schema, needle: str, before: int | None) -> Operation[list[Entry]]:
    """List the threads that have writes but no checkpoints, in the order of their ids."""
    sql = schema.sql(_SCAN, table=schema.sql("{writes}"), key=_ORPHAN)
    found, _ = yield from _ids(sql, needle, SCAN_SECONDS)
    places = ((-place, thread_id) for place, (_, thread_id) in enumerate(found, 1))
    return [Entry(*row) for row in places if before is None or row[0] < before]


def _ids(sql: str, needle: str, seconds: float) -> Operation[tuple[list[tuple[int, str]], str | None]]:
    """Skip from thread id to thread id; return key and id of those that have a key."""
    found: list[tuple[int, str]] = []
    last: bytes | None = None
    looked_at = 0
    deadline = time.monotonic() + seconds
    while True:
        rows = yield Statement(sql, (last, SCAN, needle))
        found += [(key, thread_id.decode(errors="replace")) for thread_id, key in rows if key is not None]
        looked_at += len(rows)
        if len(rows) < SCAN:
            return found, None
        if time.monotonic() > deadline:
            return found, f"Only the first {looked_at:,} threads in the order of their ids were looked at."
        last = rows[-1][0]
