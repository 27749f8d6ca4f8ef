"""Pages of one namespace's checkpoints, and single checkpoints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from checkpoints.errors import CheckpointNotFound
from checkpoints.sqlite.driver import Operation, Statement
from checkpoints.stores.records import CheckpointRow, TimelinePage, WriteRow
from checkpoints.stores.rows import KIB, MIB, MOST_WRITES, Budget, Key, checkpoint_rows, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checkpoints.stores.schema import Schema

CHECKPOINT_BUDGET = Budget(MIB, 16 * MIB)
WRITE_BUDGET = Budget(64 * KIB, 16 * MIB)
WHOLE = Budget(64 * MIB, 64 * MIB)
NEWER_AROUND = 5
MOST_CHILDREN = 5_000  # rows looked at
END = b""  # a BLOB sorts after every text

_PAGE = """
SELECT CAST(checkpoint_id AS TEXT) FROM checkpoints
WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id < ?3 ORDER BY checkpoint_id DESC LIMIT ?4
"""
_NEWER = """
SELECT CAST(checkpoint_id AS TEXT) FROM checkpoints
WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id > ?3 ORDER BY checkpoint_id LIMIT ?4
"""
# There is no index on parents, so part of the namespace is read, without its blobs.
_CHILDREN = """
SELECT CAST(parent_checkpoint_id AS TEXT), count(*)
FROM (SELECT parent_checkpoint_id FROM checkpoints
      WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id >= ?3)
WHERE parent_checkpoint_id IN (SELECT value FROM json_each(?4)) GROUP BY parent_checkpoint_id
"""
_COUNT = """
SELECT count(*) FROM (SELECT 1 FROM checkpoints
                      WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id >= ?3 LIMIT ?4)
"""


def page(
    schema: Schema, thread_id: str, ns: str, before: str | None, around: str | None, limit: int
) -> Operation[TimelinePage]:
    """Read a page of checkpoints: those before a key, those around an id, or the newest."""
    place = (thread_id, ns)
    if around is not None:
        before = yield from _newer_key(place, around, NEWER_AROUND)
    ids = [found for (found,) in (yield Statement(_PAGE, (*place, before or END, limit + 1)))]
    shown = ids[:limit]
    keys = [(thread_id, ns, checkpoint_id) for checkpoint_id in shown]
    checkpoints = yield from checkpoint_rows(keys, CHECKPOINT_BUDGET)
    writes = yield from write_rows(keys, WRITE_BUDGET, schema)
    missing = {row.parent_checkpoint_id for row in checkpoints.values()} - {None, *shown}
    parents = yield from checkpoint_rows(
        [(*place, parent) for parent in missing if parent], CHECKPOINT_BUDGET
    )
    return TimelinePage(
        tuple(checkpoints.values()),
        writes={row.checkpoint_id: writes[key] for key, row in checkpoints.items() if key in writes},
        parents={row.checkpoint_id: row for row in parents.values()},
        children=(yield from _children(place, shown)),
        older=shown[-1] if len(ids) > limit else None,
        newer=(yield from _newer_key(place, shown[0], limit)) if shown else None,
        bound=_bound(writes.values()),
    )


def checkpoint(key: Key) -> Operation[CheckpointRow]:
    """Read one checkpoint, whole."""
    rows = yield from checkpoint_rows([key], WHOLE)
    if key not in rows:
        raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
    return rows[key]


def writes_of(schema: Schema, key: Key) -> Operation[tuple[WriteRow, ...]]:
    """Read the writes on one checkpoint, whole, in the saver's order."""
    rows = yield from write_rows([key], WHOLE, schema)
    return rows.get(key, ())


def _newer_key(place: Sequence[str], checkpoint_id: str, count: int) -> Operation[str | None]:
    """Return the key of a page that begins `count` above this checkpoint; empty where that is the first."""
    rows = yield Statement(_NEWER, (*place, checkpoint_id, count + 1))
    if not rows:
        return None
    return str(rows[-1][0]) if len(rows) > count else ""


def _children(place: Sequence[str], ids: Sequence[str]) -> Operation[dict[str, int]]:
    """Count the children of these checkpoints; empty where there are too many rows to look at.

    In a long namespace only newer checkpoints count: a child has the greater id, unless a clock went back.
    """
    for oldest in ("", ids[-1]) if ids else ():
        [(count,)] = yield Statement(_COUNT, (*place, oldest, MOST_CHILDREN + 1))
        if count <= MOST_CHILDREN:
            return dict((yield Statement(_CHILDREN, (*place, oldest, json.dumps(ids)))))
    return {}


def _bound(writes: Iterable[tuple[WriteRow, ...]]) -> str | None:
    if sum(map(len, writes)) < MOST_WRITES:
        return None
    return f"Only {MOST_WRITES:,} writes of this page are shown."
