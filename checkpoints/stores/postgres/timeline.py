"""Pages of one namespace's checkpoints, and single checkpoints."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from checkpoints.branches import UNKNOWN, Link, Tree
from checkpoints.errors import CheckpointNotFound
from checkpoints.statements import Operation, Statement
from checkpoints.stores.branch import stretch
from checkpoints.stores.budget import (
    METADATA,
    MOST_ABOVE,
    MOST_IN_TREE,
    MOST_TIPS,
    MOST_WRITES,
    NEWER_AROUND,
    PAGE,
    PAGE_WRITES,
    WHOLE,
)
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
_LINKS = """
SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints
WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id >= %(oldest)s
ORDER BY checkpoint_id DESC LIMIT %(rows)s
"""
# By link, not by id. Links may loop, so their number ends it.
_BRANCH = """
WITH RECURSIVE chain (id, parent, depth) AS (
    SELECT checkpoint_id, parent_checkpoint_id, 1 FROM checkpoints
    WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id = %(id)s
    UNION ALL
    SELECT found.checkpoint_id, found.parent_checkpoint_id, depth + 1 FROM chain CROSS JOIN LATERAL (
        SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints
        WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id = chain.parent LIMIT 1
    ) AS found
    WHERE depth < %(rows)s
)
SELECT id FROM chain ORDER BY depth
"""


def page(
    schema: Schema, thread_id: str, ns: str, before: str | None, around: str | None, limit: int
) -> Operation[TimelinePage]:
    """Read a page of checkpoints: those before a key, those around an id, or the newest."""
    place = (thread_id, ns)
    if around is not None:
        before = yield from _newer_key(place, around, NEWER_AROUND)
    ids = yield from _ids(place, before, limit + 1)
    older = ids[limit - 1] if len(ids) > limit else None
    newer = (yield from _newer_key(place, ids[0], limit)) if ids else None
    return (yield from _page(schema, place, ids[:limit], older, newer))


def branch(
    schema: Schema, thread_id: str, ns: str, tip: str, before: str | None, around: str | None, limit: int
) -> Operation[TimelinePage]:
    """Read a page of a checkpoint and its ancestors: those above a key, those around an id, or the first."""
    chain = partial(_chain, thread_id, ns)
    shown, older, newer = yield from stretch(chain, tip, before, around, limit)
    return (yield from _page(schema, (thread_id, ns), shown, older, newer))


def _chain(thread_id: str, ns: str, id: str, rows: int) -> Operation[list[str]]:
    found = yield Statement(_BRANCH, {"thread": thread_id, "ns": ns, "id": id, "rows": rows})
    return [each for (each,) in found]


def _page(
    schema: Schema, place: tuple[str, str], shown: Sequence[str], older: str | None, newer: str | None
) -> Operation[TimelinePage]:
    checkpoints = yield from checkpoint_rows([(*place, id) for id in shown], PAGE)
    parents = yield from checkpoint_rows(_absent_parents(checkpoints), PAGE)
    writes = yield from write_rows((*checkpoints, *parents), PAGE_WRITES, schema)
    around = yield from _tree_around(place, shown)
    tips = around.tips[:MOST_TIPS] if len(around.tips) > 1 else ()
    rows = yield from checkpoint_rows([(*place, id) for id in tips], METADATA)
    return TimelinePage(
        tuple(checkpoints.values()),
        writes={id: found for (_, _, id), found in writes.items()},
        parents={row.checkpoint_id: row for row in parents.values()},
        tree=around,
        tips=tuple(rows.values()),
        older=older,
        newer=newer,
        bound=_bound(writes.values()),
    )


def checkpoint(thread_id: str, ns: str, checkpoint_id: str) -> Operation[CheckpointRow]:
    """Read one checkpoint, whole."""
    rows = yield from checkpoint_rows([(thread_id, ns, checkpoint_id)], WHOLE)
    if not rows:
        raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
    return next(iter(rows.values()))


def several(thread_id: str, ns: str, ids: Sequence[str]) -> Operation[tuple[CheckpointRow, ...]]:
    """Read several checkpoints within the budget of a page."""
    rows = yield from checkpoint_rows([(thread_id, ns, id) for id in ids], PAGE)
    return tuple(rows.values())


def tree(thread_id: str, ns: str) -> Operation[Tree]:
    """Read the tree of a namespace; of a long one, that of its newest checkpoints."""
    rows = yield from _links(thread_id, ns, "", MOST_IN_TREE + 1)
    return Tree(rows, whole=len(rows) <= MOST_IN_TREE)


def _links(thread_id: str, ns: str, oldest: str, count: int) -> Operation[tuple[Link, ...]]:
    wanted = {"thread": thread_id, "ns": ns, "oldest": oldest, "rows": count}
    rows = yield Statement(_LINKS, wanted)
    return tuple(Link(*row) for row in rows)


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


def _tree_around(place: tuple[str, str], shown: Sequence[str]) -> Operation[Tree]:
    """Return the tree of a namespace, or what lies above and on a page of a long one; empty far below.

    A child has the greater id, unless a clock went back: in a tree that is not whole it is not found then.
    """
    if not shown:
        return UNKNOWN
    newest = yield from tree(*place)
    if newest.whole or shown[-1] in newest:
        return newest
    rows = yield from _links(*place, shown[-1], MOST_ABOVE + 1)
    return UNKNOWN if len(rows) > MOST_ABOVE else Tree(rows, whole=False)


def _bound(writes: Iterable[tuple[WriteRow, ...]]) -> str | None:
    if sum(map(len, writes)) < MOST_WRITES:
        return None
    return f"Only {MOST_WRITES:,} writes of this page are shown."
