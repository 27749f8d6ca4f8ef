"""Pages of one namespace's checkpoints, and single checkpoints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from checkpoints.errors import CheckpointNotFound
from checkpoints.sqlite.driver import Operation, Statement
from checkpoints.stores.records import CheckpointRow, TimelinePage, WriteRow
from checkpoints.stores.rows import KIB, MIB, MOST_WRITES, Budget, Keys, checkpoint_rows, text, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checkpoints.stores.schema import Schema

CHECKPOINT_BUDGET = Budget(MIB, 16 * MIB)
WRITE_BUDGET = Budget(64 * KIB, 16 * MIB)
WHOLE = Budget(64 * MIB, 64 * MIB)
NEWER_AROUND = 5
MOST_CHILDREN = 20_000
END = b""  # a BLOB sorts after every text

_PAGE = """
SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints
WHERE thread_id = ?3 AND checkpoint_ns = ?4 AND checkpoint_id < ?5 ORDER BY checkpoint_id DESC LIMIT ?6
"""
_NAMED = "SELECT ?3 AS thread_id, ?4 AS checkpoint_ns, value AS checkpoint_id FROM json_each(?5)"
_OLDER = """
SELECT 1 FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id < ?3 LIMIT 1
"""
_NEWER = """
SELECT checkpoint_id FROM checkpoints
WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id > ?3 ORDER BY checkpoint_id LIMIT ?4
"""
# There is no index on parents, so the namespace is read, without its blobs.
_CHILDREN = """
SELECT parent_checkpoint_id, count(*)
FROM (SELECT parent_checkpoint_id FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2)
WHERE parent_checkpoint_id IN (SELECT value FROM json_each(?3)) GROUP BY parent_checkpoint_id
"""
_COUNT = """
SELECT count(*) FROM (SELECT 1 FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2 LIMIT ?3)
"""


def page(
    schema: Schema, thread_id: str, ns: str, before: str | None, around: str | None, limit: int
) -> Operation[TimelinePage]:
    """Read a page of checkpoints: those before a key, those around an id, or the newest."""
    place = (thread_id, ns)
    if around is not None:
        before = yield from _newer_key(place, around, NEWER_AROUND)
    keys = Keys(_PAGE, (*place, before or END, limit))
    checkpoints = yield from checkpoint_rows(keys, CHECKPOINT_BUDGET)
    if not checkpoints:
        return TimelinePage(())
    writes = yield from write_rows(keys, WRITE_BUDGET, schema)
    ids = {row.checkpoint_id for row in checkpoints}
    parents = {row.parent_checkpoint_id for row in checkpoints if row.parent_checkpoint_id} - ids
    oldest, newest = checkpoints[-1].checkpoint_id, checkpoints[0].checkpoint_id
    return TimelinePage(
        tuple(checkpoints),
        writes={checkpoint_id: found for (_, checkpoint_id), found in writes.items()},
        parents=(yield from _named(place, parents)) if parents else {},
        children=(yield from _children(place, ids)),
        older=oldest if (yield Statement(_OLDER, (*place, oldest))) else None,
        newer=(yield from _newer_key(place, newest, limit)),
        bound=_bound(writes.values()),
    )


def checkpoint(thread_id: str, ns: str, checkpoint_id: str) -> Operation[CheckpointRow]:
    """Read one checkpoint, whole."""
    rows = yield from _named((thread_id, ns), [checkpoint_id], WHOLE)
    if checkpoint_id not in rows:
        raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
    return rows[checkpoint_id]


def writes_of(schema: Schema, thread_id: str, ns: str, checkpoint_id: str) -> Operation[tuple[WriteRow, ...]]:
    """Read the writes on one checkpoint, whole, in the saver's order."""
    keys = Keys(_NAMED, (thread_id, ns, json.dumps([checkpoint_id])))
    rows = yield from write_rows(keys, WHOLE, schema)
    return rows.get((thread_id, checkpoint_id), ())


def _named(
    place: Sequence[str], ids: Iterable[str], budget: Budget = CHECKPOINT_BUDGET
) -> Operation[dict[str, CheckpointRow]]:
    rows = yield from checkpoint_rows(Keys(_NAMED, (*place, json.dumps(list(ids)))), budget)
    return {row.checkpoint_id: row for row in rows}


def _newer_key(place: Sequence[str], checkpoint_id: str, count: int) -> Operation[str | None]:
    """Return the key of a page that begins `count` above this checkpoint; empty where that is the first."""
    rows = yield Statement(_NEWER, (*place, checkpoint_id, count + 1))
    if not rows:
        return None
    return text(rows[-1][0]) if len(rows) > count else ""


def _children(place: Sequence[str], ids: Iterable[str]) -> Operation[dict[str, int]]:
    """Count the children of these checkpoints; empty where the namespace is too long to look."""
    [(count,)] = yield Statement(_COUNT, (*place, MOST_CHILDREN + 1))
    if count > MOST_CHILDREN:
        return {}
    return {text(parent): n for parent, n in (yield Statement(_CHILDREN, (*place, json.dumps(list(ids)))))}


def _bound(writes: Iterable[tuple[WriteRow, ...]]) -> str | None:
    if sum(map(len, writes)) < MOST_WRITES:
        return None
    return f"Only {MOST_WRITES:,} writes of this page are shown."
