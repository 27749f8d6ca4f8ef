"""Threads by what state their heads are in, which has to be derived from the decoded head."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from checkpoints.snapshot import PendingWrite, Snapshot
from checkpoints.status import Status, status
from checkpoints.tasks import next_nodes, pending_sends, tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.inert import InertSerializer
    from checkpoints.stores.selection import Head, ThreadKey
    from checkpoints.stores.store import Store

ORPHANED = "orphaned writes"
STATES = (*(state.value for state in Status), ORPHANED)
PAGE = 50  # heads that are in memory at once


async def with_status(store: Store, keys: Sequence[ThreadKey], wanted: str) -> list[ThreadKey]:
    """Return those of these threads that are in the wanted state, as the list of threads says it."""
    found: list[ThreadKey] = []
    for at in range(0, len(keys), PAGE):
        heads = await store.heads(keys[at : at + PAGE])
        states = await asyncio.to_thread(_states, heads, store.serde)
        found += [head.key for head, state in zip(heads, states, strict=True) if state == wanted]
    return found


def _states(heads: Sequence[Head], serde: InertSerializer) -> list[str]:
    return [_state(head, serde) for head in heads]


def _state(head: Head, serde: InertSerializer) -> str:
    if head.row is None:
        return ORPHANED
    at = Snapshot(head.row, serde)
    sends = pending_sends(at)
    ran = tasks((PendingWrite(write, serde) for write in head.writes), sends)
    return status(at, ran, next_nodes(at, sends, ran)).value
