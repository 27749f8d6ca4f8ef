"""Rows that several screens read: one checkpoint with what it can only be told together with."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from checkpoints.errors import CheckpointNotFound
from checkpoints.snapshot import Snapshot
from checkpoints.stores.records import TimelinePage
from explorer.offload import offload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores import Store

SIBLINGS = 5  # read to find what a fork copies


async def one(opened: Store, thread: str, ns: str, id: str) -> TimelinePage:
    """Read one checkpoint whole, with its parent and both their writes, as a page of one."""
    row = await opened.checkpoint_row(thread, ns, id)
    writes = {id: await opened.writes(thread, ns, id)}
    parents = {}
    if parent_id := row.parent_checkpoint_id:
        with suppress(CheckpointNotFound):
            parents[parent_id] = await opened.checkpoint_row(thread, ns, parent_id)
            writes[parent_id] = await opened.writes(thread, ns, parent_id)
    return TimelinePage((row,), writes, parents)


async def original(opened: Store, page: TimelinePage) -> Snapshot | None:
    """Return what a fork copies: the older child of its parent that has most of its versions.

    None for what is no fork, and where no such checkpoint is found; of many children the oldest few count.
    """
    fork = Snapshot(page.checkpoints[0], opened.serde)
    if fork.source != "fork":
        return None
    if (parent := page.parents.get(fork.parent_id or "")) is not None:
        above = Snapshot(parent, opened.serde)
        if is_copy(fork, above):
            return above
    thread, ns = fork.row.thread_id, fork.row.checkpoint_ns
    tree = await opened.tree(thread, ns)
    ids = [link.id for link in reversed(tree.links) if link.parent == fork.parent_id and link.id < fork.id]
    rows = await opened.siblings(thread, ns, ids[:SIBLINGS])
    older = [Snapshot(row, opened.serde) for row in sorted(rows, key=lambda row: row.checkpoint_id)]
    weight = fork.row.weight + sum(row.weight for row in rows)
    return await offload(weight, most_alike, fork, older)


def is_copy(fork: Snapshot, parent: Snapshot) -> bool:
    """Tell whether a fork holds just what its parent does: with that a run in the past begins.

    LangGraph's other copies stand beside what they copy.
    """
    return bool(parent.versions) and dict(fork.versions) == dict(parent.versions)


def most_alike(fork: Snapshot, older: Sequence[Snapshot]) -> Snapshot | None:
    """Return the one that has most of a fork's versions, the first of several."""
    return max(older, key=partial(_alike, fork), default=None)


def _alike(fork: Snapshot, other: Snapshot) -> int:
    return sum(fork.versions.get(name) == version for name, version in other.versions.items())
