"""Lineage: the chain of parents above a checkpoint, and what a DeltaChannel's value is made of along it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from langgraph.checkpoint.base import get_checkpoint_id

from checkpoints.sqlite.codec import channels_held
from checkpoints.sqlite.operations import NAMESPACE, select, select_writes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.statements import Operation, Row

HEAD_LINK = f"SELECT checkpoint_id, parent_checkpoint_id {NAMESPACE} ORDER BY checkpoint_id DESC LIMIT 1"
LINK = f"SELECT checkpoint_id, parent_checkpoint_id {NAMESPACE} AND checkpoint_id = ?"
# The chain's rows come in the order in which they are found. CROSS JOIN makes each step a seek.
CHAIN = """\
WITH RECURSIVE chain (place, parent, depth) AS (
    SELECT rowid, parent_checkpoint_id, 1 FROM checkpoints
    WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?
    UNION ALL
    SELECT found.rowid, found.parent_checkpoint_id, depth + 1 FROM chain CROSS JOIN checkpoints AS found
    ON found.thread_id = ? AND found.checkpoint_ns = ? AND found.checkpoint_id = chain.parent
    WHERE depth < ?)
SELECT checkpoint_id, parent_checkpoint_id, type, checkpoint
FROM chain CROSS JOIN checkpoints ON checkpoints.rowid = chain.place"""
CHANNEL_WRITES = """\
SELECT task_id, channel, writes.type, writes.value FROM json_each(?) AS chain CROSS JOIN writes
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = chain.value AND channel = ?
ORDER BY chain.key DESC, task_path, task_id, idx"""

FIRST = 16  # checkpoints that are read at once, then more and more
MOST = 64
MOST_BYTES = 8 * 2**20


class Ancestor(NamedTuple):
    """A checkpoint above another one, its state undecoded."""

    checkpoint_id: str
    parent_checkpoint_id: str | None
    type: str
    checkpoint: bytes


class Ancestors:
    """The ancestors of a checkpoint, nearest first, page by page.

    Links are followed, not ids: only the clock of one process sorts them. The chain ends at a root, at a
    parent that is gone, or where it would loop.
    """

    def __init__(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None, parent_id: str | None
    ) -> None:
        self._namespace = (thread_id, checkpoint_ns)
        self._next = parent_id
        self._seen = {checkpoint_id}
        self._wanted = FIRST

    @property
    def ended(self) -> bool:
        """Whether there are no more."""
        return not self._next

    def page(self) -> Operation[list[Ancestor]]:
        """Return the next ones."""
        rows = yield from select(CHAIN, (*self._namespace, self._next, *self._namespace, self._wanted))
        page = [Ancestor._make(row) for row in rows]
        self._next = page[-1].parent_checkpoint_id if page else None
        new = [ancestor for ancestor in page if self._is_new(ancestor.checkpoint_id)]
        if len(new) < len(page):  # a loop
            self._next = None
        self._wanted = _next_size(page)
        return new

    def _is_new(self, checkpoint_id: str) -> bool:
        known = checkpoint_id in self._seen
        self._seen.add(checkpoint_id)
        return not known


def _next_size(page: list[Ancestor]) -> int:
    size = sum(len(ancestor.checkpoint or b"") for ancestor in page)
    return max(1, min(2 * len(page), MOST, len(page) * MOST_BYTES // max(size, 1)))


class StoredHistory:
    """One channel above a checkpoint: the ancestors, nearest first, back to the one that holds a value."""

    def __init__(self) -> None:
        self.chain: list[str] = []
        self.seed: Ancestor | None = None
        self.writes: list[Row] = []  # task, channel, type, value; oldest first


def delta_history(
    serde: SerializerProtocol, config: RunnableConfig, channels: Sequence[str]
) -> Operation[dict[str, StoredHistory]]:
    """Return the history of each channel above the checkpoint that the config names, or above the head."""
    namespace = (str(config["configurable"]["thread_id"]), config["configurable"].get("checkpoint_ns", ""))
    if checkpoint_id := get_checkpoint_id(config):
        target = yield from select(LINK, (*namespace, checkpoint_id))
    else:
        target = yield from select(HEAD_LINK, namespace)
    link = target[0] if target else (None, None)
    histories = yield from walk(serde, Ancestors(*namespace, *link), channels)
    for channel, history in histories.items():
        parameters = (json.dumps(history.chain), *namespace, channel)
        history.writes = yield from select_writes(CHANNEL_WRITES, parameters)
    return histories


def walk(
    serde: SerializerProtocol, ancestors: Ancestors, channels: Iterable[str]
) -> Operation[dict[str, StoredHistory]]:
    """Return each channel's chain, without its writes, reading no further than the last channel needs."""
    histories = {channel: StoredHistory() for channel in channels}
    missing = dict(histories)
    while missing and not ancestors.ended:
        for ancestor in (yield from ancestors.page()):
            for history in missing.values():
                history.chain.append(ancestor.checkpoint_id)
            for channel in missing.keys() & channels_held(serde, ancestor.type, ancestor.checkpoint):
                missing.pop(channel).seed = ancestor
            if not missing:
                break
    return histories
