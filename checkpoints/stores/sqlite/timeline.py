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
from checkpoints.stores.records import CheckpointRow, TimelinePage, WriteRow
from checkpoints.stores.sqlite.rows import (
    ID,
    STORED_ID,
    Key,
    StoredId,
    checkpoint_rows,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checkpoints.stores.sqlite.schema import Schema


_FIRST_PAGE = """
SELECT {stored_id} FROM checkpoints
WHERE thread_id = ?1 AND checkpoint_ns = ?2 ORDER BY checkpoint_id DESC LIMIT ?3
""".replace("{stored_id}", STORED_ID)
_NEXT_PAGE = """
SELECT {stored_id} FROM checkpoints
WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id < {id} ORDER BY checkpoint_id DESC LIMIT ?5
""".replace("{stored_id}", STORED_ID).replace("{id}", ID)
_NEWER = """
SELECT {stored_id} FROM checkpoints
WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id > {id} ORDER BY checkpoint_id LIMIT ?5
""".replace("{stored_id}", STORED_ID).replace("{id}", ID)
_LINKS = """
SELECT ifnull(CAST(checkpoint_id AS TEXT), ''), CAST(parent_checkpoint_id AS TEXT) FROM checkpoints
WHERE thread_id = ?1 AND checkpoint_ns = ?2 ORDER BY checkpoint_id DESC LIMIT ?3
"""
_LINKS_ABOVE = """
SELECT ifnull(CAST(checkpoint_id AS TEXT), ''), CAST(parent_checkpoint_id AS TEXT) FROM checkpoints
WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id >= {id} ORDER BY checkpoint_id DESC LIMIT ?5
""".replace("{id}", ID)
# By link, not by id. Links may loop, so their number ends it.
_BRANCH = """
WITH RECURSIVE chain (id, parent, depth) AS (
    SELECT checkpoint_id, parent_checkpoint_id, 1 FROM checkpoints
    WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = ?3
    UNION ALL
    SELECT found.checkpoint_id, found.parent_checkpoint_id, depth + 1
    FROM chain CROSS JOIN checkpoints AS found
    ON found.thread_id = ?1 AND found.checkpoint_ns = ?2 AND found.checkpoint_id = chain.parent
    WHERE depth < ?4
)
SELECT CAST(id AS TEXT) FROM chain
"""


def page(
    schema: Schema, thread_id: str, ns: str, before: str | None, around: str | None, limit: int
) -> Operation[TimelinePage]:
    """Read a page of checkpoints: those before a key, those around an id, or the newest."""
    place = (thread_id, ns)
    if around is not None:
        before = yield from _newer_key(place, StoredId(around), NEWER_AROUND)
    ids = yield from _ids(place, before, limit + 1)
    older = ids[limit - 1].key if len(ids) > limit else None
    newer = (yield from _newer_key(place, ids[0], limit)) if ids else None
    return (yield from _page(schema, place, ids[:limit], older, newer))


def branch(
    schema: Schema, thread_id: str, ns: str, tip: str, before: str | None, around: str | None, limit: int
) -> Operation[TimelinePage]:
    """Read a page of a checkpoint and its ancestors: those above a key, those around an id, or the first."""
    chain = partial(_chain, thread_id, ns)
    shown, older, newer = yield from stretch(chain, tip, before, around, limit)
    return (yield from _page(schema, (thread_id, ns), [StoredId(id) for id in shown], older, newer))


def _chain(thread_id: str, ns: str, id: str, rows: int) -> Operation[list[str]]:
    found = yield Statement(_BRANCH, (thread_id, ns, id, rows))
    return [each for (each,) in found]


def _page(
    schema: Schema, place: tuple[str, str], shown: Sequence[StoredId], older: str | None, newer: str | None
) -> Operation[TimelinePage]:
    checkpoints = yield from checkpoint_rows([(*place, id) for id in shown], PAGE)
    parents = yield from checkpoint_rows(_absent_parents(checkpoints), PAGE)
    writes = yield from write_rows((*checkpoints, *parents), PAGE_WRITES, schema)
    around = yield from _tree_around(place, shown)
    tips = around.tips[:MOST_TIPS] if len(around.tips) > 1 else ()
    rows = yield from checkpoint_rows([(*place, StoredId(id)) for id in tips], METADATA)
    return TimelinePage(
        tuple(checkpoints.values()),
        writes={id.shown: found for (_, _, id), found in writes.items()},
        parents={row.checkpoint_id: row for row in parents.values()},
        tree=around,
        tips=tuple(rows.values()),
        older=older,
        newer=newer,
        bound=_bound(writes.values()),
    )


def checkpoint(thread_id: str, ns: str, checkpoint_id: str) -> Operation[CheckpointRow]:
    """Read one checkpoint, whole."""
    key = (thread_id, ns, StoredId(checkpoint_id))
    rows = yield from checkpoint_rows([key], WHOLE)
    if not rows:
        raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
    return next(iter(rows.values()))


def several(thread_id: str, ns: str, ids: Sequence[str]) -> Operation[tuple[CheckpointRow, ...]]:
    """Read several checkpoints within the budget of a page."""
    rows = yield from checkpoint_rows([(thread_id, ns, StoredId(id)) for id in ids], PAGE)
    return tuple(rows.values())


def tree(thread_id: str, ns: str) -> Operation[Tree]:
    """Read the tree of a namespace; of a long one, that of its newest checkpoints."""
    rows = yield Statement(_LINKS, (thread_id, ns, MOST_IN_TREE + 1))
    return Tree(tuple(Link(*row) for row in rows), whole=len(rows) <= MOST_IN_TREE)


def writes_of(schema: Schema, thread_id: str, ns: str, checkpoint_id: str) -> Operation[tuple[WriteRow, ...]]:
    """Read the writes on one checkpoint, whole, in the saver's order."""
    key = (thread_id, ns, StoredId(checkpoint_id))
    rows = yield from write_rows([key], WHOLE, schema)
    return rows.get(key, ())


def _ids(place: Sequence[str], before: str | None, count: int) -> Operation[list[StoredId]]:
    if before:
        rows = yield Statement(_NEXT_PAGE, (*place, *StoredId.of_key(before), count))
    else:
        rows = yield Statement(_FIRST_PAGE, (*place, count))
    return [StoredId.of(*row) for row in rows]


def _absent_parents(checkpoints: dict[Key, CheckpointRow]) -> list[Key]:
    """Return the keys of parents that are not among these checkpoints."""
    shown = {row.checkpoint_id for row in checkpoints.values()}
    parents = dict.fromkeys(row.parent_checkpoint_id for row in checkpoints.values())
    thread_id, ns = next(((thread_id, ns) for thread_id, ns, _ in checkpoints), ("", ""))
    return [(thread_id, ns, StoredId(parent)) for parent in parents if parent and parent not in shown]


def _newer_key(place: Sequence[str], id: StoredId, count: int) -> Operation[str | None]:
    """Return the key of a page that begins `count` above this checkpoint; empty where that is the first."""
    rows = yield Statement(_NEWER, (*place, *id, count + 1))
    if not rows:
        return None
    return StoredId.of(*rows[-1]).key if len(rows) > count else ""


def _tree_around(place: tuple[str, str], shown: Sequence[StoredId]) -> Operation[Tree]:
    """Return the tree of a namespace, or what lies above and on a page of a long one; empty far below.

    A child has the greater id, unless a clock went back: in a tree that is not whole it is not found then.
    """
    if not shown:
        return UNKNOWN
    newest = yield from tree(*place)
    if newest.whole or shown[-1].shown in newest:
        return newest
    rows = yield Statement(_LINKS_ABOVE, (*place, *shown[-1], MOST_ABOVE + 1))
    return UNKNOWN if len(rows) > MOST_ABOVE else Tree(tuple(Link(*row) for row in rows), whole=False)


def _bound(writes: Iterable[tuple[WriteRow, ...]]) -> str | None:
    if sum(map(len, writes)) < MOST_WRITES:
        return None
    return f"Only {MOST_WRITES:,} writes of this page are shown."
