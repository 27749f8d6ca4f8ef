"""Which threads are on a page: in the order of their latest checkpoints, which forks and copies may share.

With an index that begins with the checkpoints' ids the page is a walk down that index. Without one all ids
are grouped by thread, in one pass over the primary key; unless there are few threads, or the pass takes too
long: then thread by thread, skipping from one id to the next. Orphaned writes come last in each case.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from psycopg import errors

from checkpoints.statements import Operation, Row, Statement
from checkpoints.stores.postgres.places import Listing, Place, cut, place_sql
from checkpoints.stores.records import Hint

if TYPE_CHECKING:
    from checkpoints.stores.postgres.schema import Schema

WALK = (400, 400, 800, 1_600, 3_200, 6_400, 7_200)  # rows by chunk; 20,000 in all
STEPS_BEFORE_FEW = 3  # chunks walked before it is worth asking whether there are few threads
FEW = 500  # thread ids, 2 ms to skip through
SCAN = 5_000  # thread ids by chunk
SCAN_SECONDS = 2.0
GROUP_SECONDS = 3.0
LARGE = 100_000  # checkpoints; from here on the index is worth a word

_BEFORE = "(%(id)s::text IS NULL OR ({id}, {thread}) < (%(id)s::text, %(thread)s::text))"
_WALK = """
WITH chunk AS MATERIALIZED (
    SELECT checkpoint_id, thread_id FROM checkpoints
    WHERE {before} AND (%(id)s::text IS NULL OR checkpoint_id <= %(id)s::text)
    ORDER BY checkpoint_id DESC, thread_id DESC LIMIT %(rows)s
), met AS MATERIALIZED (
    SELECT thread_id, max(checkpoint_id) AS id FROM chunk
    WHERE thread_id <> ALL(%(seen)s::text[]) GROUP BY thread_id
), placed AS MATERIALIZED (
    SELECT thread_id, id, {place} AS place FROM met
)
SELECT p.place, p.thread_id, p.place > p.id, (p.place, p.thread_id) >= (last.checkpoint_id, last.thread_id),
       (SELECT count(*) FROM chunk), last.checkpoint_id, last.thread_id
FROM (SELECT * FROM chunk ORDER BY checkpoint_id, thread_id LIMIT 1) last LEFT JOIN placed p ON true
ORDER BY p.place DESC, p.thread_id DESC
""".replace("{before}", _BEFORE.format(id="checkpoint_id", thread="thread_id")).replace(
    "{place}", place_sql("met.thread_id")
)
_GROUP = """
SELECT max(checkpoint_id), thread_id FROM checkpoints GROUP BY thread_id
HAVING {before} ORDER BY max(checkpoint_id) DESC, thread_id DESC LIMIT %(rows)s
""".format(before=_BEFORE.format(id="max(checkpoint_id)", thread="thread_id"))
SKIP = """
WITH RECURSIVE ids(thread_id) AS (
    (SELECT thread_id FROM {table} WHERE %(last)s::text IS NULL OR thread_id > %(last)s::text
     ORDER BY thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.thread_id FROM {table} t WHERE t.thread_id > ids.thread_id ORDER BY t.thread_id LIMIT 1)
    FROM ids WHERE ids.thread_id IS NOT NULL
)
SELECT thread_id, CASE WHEN position(lower(%(needle)s) IN lower(thread_id)) > 0 THEN {key} END
FROM (SELECT thread_id FROM ids WHERE thread_id IS NOT NULL LIMIT %(rows)s) ids
"""
_COUNTED = SKIP.format(table="checkpoints", key="''")
_PLACED = SKIP.format(table="checkpoints", key=place_sql("ids.thread_id"))
_ORPHANED = SKIP.format(
    table="checkpoint_writes",
    key="CASE WHEN NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = ids.thread_id) THEN '' END",
)
_INDEX = "CREATE INDEX CONCURRENTLY ON {table} (checkpoint_id DESC) INCLUDE (thread_id);"


def listing(schema: Schema, needle: str, before: Place | None, limit: int) -> Operation[Listing]:
    """List the threads whose id contains the needle (letters in either case), latest first."""
    entries: list[Place] | None = [] if before and before.checkpoint_id is None else None
    bound = None
    if entries is None and not needle:
        if schema.latest_index:
            entries = yield from _walk(before, limit + 1)
        elif not (yield from _are_few()):
            entries = yield from _group(before, limit + 1)
    if entries is None:
        entries, bound = yield from _scan(needle, before)
    if len(entries) <= limit:
        entries += yield from _orphans(needle, before)
    return cut(entries, limit, bound)


def count_threads(seconds: float) -> Operation[tuple[int, bool]]:
    """Count the threads that have checkpoints; and tell whether time ran out before the last."""
    found, bound = yield from _ids(_COUNTED, "", seconds)
    return len(found), bound is not None


def hint(schema: Schema) -> Hint | None:
    """Tell what a large store's list would gain from an index that it lacks."""
    if schema.latest_index or schema.estimate < LARGE:
        return None
    return Hint(
        f"This page reads the ids of all checkpoints, about {schema.estimate:,}. With an index on them it"
        " reads those of the page: of a million, 9 ms instead of 100.",
        _INDEX.format(table=schema.qualified),
    )


def within(seconds: float, statement: Statement) -> Operation[list[Row] | None]:
    """Execute a statement for so long; None when it took longer. The transaction goes on."""
    yield Statement("SAVEPOINT within")
    yield Statement(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}")
    rows: list[Row] | None = None
    with suppress(errors.QueryCanceled):
        rows = yield statement
    yield Statement("ROLLBACK TO SAVEPOINT within")  # and to the statement_timeout of before
    return rows


def _walk(before: Place | None, wanted: int) -> Operation[list[Place] | None]:
    """Walk the index downwards. None when too many rows belong to too few of many threads."""
    entries: list[Place] = []
    seen: set[str] = set()
    for step, size in enumerate(WALK):
        if step == STEPS_BEFORE_FEW and (yield from _are_few()):
            return None
        rows = yield Statement(_WALK, {**_bounds(before), "rows": size, "seen": list(seen)})
        for place, thread_id, above, reached, *_ in rows:
            # One that stands above was on a page before; one that stands further down is met again there.
            if above or reached:
                seen.add(thread_id)
            if reached and not above:
                entries.append(Place(place, thread_id))
        if len(entries) >= wanted or not rows or rows[0][4] < size:
            return entries[:wanted]
        before = Place(*rows[0][5:])
    return None


def _are_few() -> Operation[bool]:
    rows = yield Statement(_COUNTED, {"last": None, "rows": FEW + 1, "needle": ""})
    return len(rows) <= FEW


def _group(before: Place | None, wanted: int) -> Operation[list[Place] | None]:
    rows = yield from within(GROUP_SECONDS, Statement(_GROUP, {**_bounds(before), "rows": wanted}))
    return None if rows is None else [Place(*row) for row in rows]


def _scan(needle: str, before: Place | None) -> Operation[tuple[list[Place], str | None]]:
    found, bound = yield from _ids(_PLACED, needle, SCAN_SECONDS)
    entries = sorted((Place(latest, thread_id) for latest, thread_id in found), reverse=True)
    return [entry for entry in entries if before is None or entry < before], bound


def _orphans(needle: str, before: Place | None) -> Operation[list[Place]]:
    """List the threads that have writes but no checkpoints, in the order of their ids."""
    found, _ = yield from _ids(_ORPHANED, needle, SCAN_SECONDS)
    last = before.thread_id if before and before.checkpoint_id is None else None
    return [Place(None, id) for _, id in sorted(found) if last is None or id > last]


def _ids(sql: str, needle: str, seconds: float) -> Operation[tuple[list[tuple[str, str]], str | None]]:
    """Skip from thread id to thread id; return key and id of those that have a key."""
    found: list[tuple[str, str]] = []
    last: str | None = None
    looked_at = 0
    deadline = time.monotonic() + seconds
    while True:
        rows = yield Statement(sql, {"last": last, "rows": SCAN, "needle": needle})
        found += [(key, thread_id) for thread_id, key in rows if key is not None]
        looked_at += len(rows)
        if len(rows) < SCAN:
            return found, None
        if time.monotonic() > deadline:
            return found, f"Only the first {looked_at:,} threads in the order of their ids were looked at."
        last = rows[-1][0]


def _bounds(before: Place | None) -> dict[str, str | None]:
    return {"id": before and before.checkpoint_id, "thread": before and before.thread_id}
