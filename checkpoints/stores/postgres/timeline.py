"""Pages of one namespace's checkpoints, and single checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.errors import CheckpointNotFound
from checkpoints.statements import Operation, Statement
from checkpoints.stores.budget import MOST_CHILDREN, MOST_WRITES, NEWER_AROUND, PAGE, PAGE_WRITES, WHOLE
from checkpoints.stores.postgres.rows import Key, checkpoint_rows, write_rows
from checkpoints.stores.records import CheckpointRow, TimelinePage, WriteRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checkpoints.stores.postgres.schema import Schema

_IDS = """
SELECT checkpoint_id FROM checkpoints
WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s
  AND (%(before)s::text IS NULL OR checkpoint_id < %(before)s::text)
ORDER BY checkpoint_id DESC LIMIT %(rows)s
"""
_NEWER = """
SELECT checkpoint_id FROM checkpoints
WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id > %(id)s
ORDER BY checkpoint_id LIMIT %(rows)s
"""
# There is no index on parents, so part of the namespace is read. A number without a parent is that of all.
_CHILDREN = """
WITH looked_at AS MATERIALIZED (
    SELECT parent_checkpoint_id AS parent FROM checkpoints
    WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id >= %(oldest)s
    ORDER BY checkpoint_id LIMIT %(rows)s
)
SELECT NULL, count(*) FROM looked_at
UNION ALL
SELECT parent, count(*) FROM looked_at WHERE parent = ANY(%(ids)s::text[]) GROUP BY parent
"""


def page(
    schema: Schema, thread_id: str, ns: str, before: str | None, around: str | None, limit: int
) -> Operation[TimelinePage]:
    """Read a page of checkpoints: those before a key, those around an id, or the newest."""
    place = (thread_id, ns)
    if around is not None:
        before = yield from _newer_key(place, around, NEWER_AROUND)
    ids = yield from _ids(place, before, limit + 1)
    shown = ids[:limit]
    checkpoints = yield from checkpoint_rows([(*place, id) for id in shown], PAGE)
    parents = yield from checkpoint_rows(_absent_parents(checkpoints), PAGE)
    writes = yield from write_rows((*checkpoints, *parents), PAGE_WRITES, schema)
    return TimelinePage(
        tuple(checkpoints.values()),
        writes={id: found for (_, _, id), found in writes.items()},
        parents={row.checkpoint_id: row for row in parents.values()},
        children=(yield from _children(place, shown)),
        older=shown[-1] if len(ids) > limit else None,
        newer=(yield from _newer_key(place, shown[0], limit)) if shown else None,
        bound=_bound(writes.values()),
    )


def checkpoint(thread_id: str, ns: str, checkpoint_id: str) -> Operation[CheckpointRow]:
    """Read one checkpoint, whole."""
    rows = yield from checkpoint_rows([(thread_id, ns, checkpoint_id)], WHOLE)
    if not rows:
        raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
    return next(iter(rows.values()))


def writes_of(schema: Schema, thread_id: str, ns: str, checkpoint_id: str) -> Operation[tuple[WriteRow, ...]]:
    """Read the writes on one checkpoint, whole, in the saver's order."""
    key = (thread_id, ns, checkpoint_id)
    rows = yield from write_rows([key], WHOLE, schema)
    return rows.get(key, ())


def _ids(place: Sequence[str], before: str | None, count: int) -> Operation[list[str]]:
    rows = yield Statement(
        _IDS, {"thread": place[0], "ns": place[1], "before": before or None, "rows": count}
    )
    return [id for (id,) in rows]


def _absent_parents(checkpoints: dict[Key, CheckpointRow]) -> list[Key]:
    """Return the keys of parents that are not among these checkpoints."""
    shown = {id for _, _, id in checkpoints}
    parents = {
        (thread_id, ns, row.parent_checkpoint_id): None
        for (thread_id, ns, _), row in checkpoints.items()
        if row.parent_checkpoint_id and row.parent_checkpoint_id not in shown
    }
    return list(parents)


def _newer_key(place: Sequence[str], id: str, count: int) -> Operation[str | None]:
    """Return the key of a page that begins `count` above this checkpoint; empty where that is the first."""
    rows = yield Statement(_NEWER, {"thread": place[0], "ns": place[1], "id": id, "rows": count + 1})
    if not rows:
        return None
    return str(rows[-1][0]) if len(rows) > count else ""


def _children(place: Sequence[str], ids: Sequence[str]) -> Operation[dict[str, int]]:
    """Count the children of these checkpoints; empty where there are too many rows to look at.

    In a long namespace only newer checkpoints count: a child has the greater id, unless a clock went back.
    """
    wanted = {"thread": place[0], "ns": place[1], "ids": list(ids), "rows": MOST_CHILDREN + 1}
    for oldest in ("", ids[-1]) if ids else ():
        [(_, count), *children] = yield Statement(_CHILDREN, {**wanted, "oldest": oldest})
        if count <= MOST_CHILDREN:
            return dict(children)
    return {}


def _bound(writes: Iterable[tuple[WriteRow, ...]]) -> str | None:
    if sum(map(len, writes)) < MOST_WRITES:
        return None
    return f"Only {MOST_WRITES:,} writes of this page are shown."
