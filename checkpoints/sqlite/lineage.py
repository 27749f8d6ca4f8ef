"""Lineage in the two tables: ancestors by parent link, and the writes along a chain."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from checkpoints.saver.lineage import Ancestors
from checkpoints.sqlite.codec import channels_held
from checkpoints.sqlite.operations import NAMESPACE, select, select_writes

if TYPE_CHECKING:
    from collections.abc import Collection

    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.saver.lineage import StoredHistory
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


class SqliteAncestor(NamedTuple):
    """A checkpoint above another one, its state undecoded."""

    checkpoint_id: str
    parent_checkpoint_id: str | None
    type: str
    checkpoint: bytes
    serde: SerializerProtocol

    @property
    def size(self) -> int:
        """The bytes of its state."""
        return len(self.checkpoint or b"")

    def held(self) -> Collection[str]:
        """Return the channels whose value it holds."""
        return channels_held(self.serde, self.type, self.checkpoint)


def link(thread_id: str, checkpoint_ns: str, id: str | None) -> Operation[Row]:
    """Return the id and the parent of a checkpoint, or of the head; (None, None) where there is none."""
    if id:
        found = yield from select(LINK, (thread_id, checkpoint_ns, id))
    else:
        found = yield from select(HEAD_LINK, (thread_id, checkpoint_ns))
    return found[0] if found else (None, None)


def ancestors(serde: SerializerProtocol, thread_id: str, checkpoint_ns: str, link: Row) -> Ancestors:
    """Return the ancestors above a link (id, parent)."""
    return Ancestors(partial(_chain, serde, thread_id, checkpoint_ns), link, FIRST, MOST)


def _chain(
    serde: SerializerProtocol, thread_id: str, checkpoint_ns: str, id: str, wanted: int
) -> Operation[list[SqliteAncestor]]:
    namespace = (thread_id, checkpoint_ns)
    rows = yield from select(CHAIN, (*namespace, id, *namespace, wanted))
    return [SqliteAncestor._make((*row, serde)) for row in rows]


def complete(thread_id: str, checkpoint_ns: str, histories: dict[str, StoredHistory]) -> Operation[None]:
    """Read the writes along the chains. The values where those begin have been read with the ancestors."""
    for channel, history in histories.items():
        parameters = (json.dumps(history.chain), thread_id, checkpoint_ns, channel)
        history.writes = yield from select_writes(CHANNEL_WRITES, parameters)
