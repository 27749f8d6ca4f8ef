"""Pages of one namespace's checkpoints, and single checkpoints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from checkpoints.errors import CheckpointNotFound
from checkpoints.statements import Operation, Statement
from checkpoints.stores.budget import MOST_CHILDREN, MOST_WRITES, NEWER_AROUND, PAGE, PAGE_WRITES, WHOLE
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
# There is no index on parents, so part of the namespace is read, without its blobs.
_CHILDREN = """
SELECT CAST(parent_checkpoint_id AS TEXT), count(*)
FROM (SELECT parent_checkpoint_id FROM checkpoints
      WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id >= {id})
WHERE parent_checkpoint_id IN (SELECT value FROM json_each(?5)) GROUP BY parent_checkpoint_id
""".replace("{id}", ID)
_COUNT = """
SELECT count(*) FROM (SELECT 1 FROM checkpoints
                      WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id >= {id} LIMIT ?5)
""".replace("{id}", ID)


def page(
    schema: Schema, thread_id: str, ns: str, before: str | None, around: str | None, limit: int
) -> Operation[TimelinePage]:
    """Read a page of checkpoints: those before a key, those around an id, or the newest."""
    place = (thread_id, ns)
    if around is not None:
        before = yield from _newer_key(place, StoredId(around), NEWER_AROUND)
    ids = yield from _ids(place, before, limit + 1)
    shown = ids[:limit]
    checkpoints = yield from checkpoint_rows([(*place, id) for id in shown], PAGE)
    parents = yield from checkpoint_rows(_absent_parents(checkpoints), PAGE)
    writes = yield from write_rows((*checkpoints, *parents), PAGE_WRITES, schema)
    return TimelinePage(
        tuple(checkpoints.values()),
        writes={id.shown: found for (_, _, id), found in writes.items()},
        parents={row.checkpoint_id: row for row in parents.values()},
        children=(yield from _children(place, shown)),
        older=shown[-1].key if len(ids) > limit else None,
        newer=(yield from _newer_key(place, shown[0], limit)) if shown else None,
        bound=_bound(writes.values()),
    )


def checkpoint(thread_id: str, ns: str, checkpoint_id: str) -> Operation[CheckpointRow]:
    """Read one checkpoint, whole."""
    key = (thread_id, ns, StoredId(checkpoint_id))
    rows = yield from checkpoint_rows([key], WHOLE)
    if not rows:
        raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
    return next(iter(rows.values()))


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


def _children(place: Sequence[str], ids: Sequence[StoredId]) -> Operation[dict[str, int]]:
    """Count the children of these checkpoints; empty where there are too many rows to look at.

    In a long namespace only newer checkpoints count: a child has the greater id, unless a clock went back.
    """
    for oldest in (StoredId(""), ids[-1]) if ids else ():
        [(count,)] = yield Statement(_COUNT, (*place, *oldest, MOST_CHILDREN + 1))
        if count <= MOST_CHILDREN:
            wanted = json.dumps([id.shown for id in ids])
            return dict((yield Statement(_CHILDREN, (*place, *oldest, wanted))))
    return {}


def _bound(writes: Iterable[tuple[WriteRow, ...]]) -> str | None:
    if sum(map(len, writes)) < MOST_WRITES:
        return None
    return f"Only {MOST_WRITES:,} writes of this page are shown."
