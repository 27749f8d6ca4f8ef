"""Pruning: deleting of a thread what its heads do not need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from checkpoints.sqlite.codec import decode_metadata
from checkpoints.sqlite.needs import Needs
from checkpoints.sqlite.operations import BY_ID, NAMESPACE, delete_checkpoints, delete_thread, select
from checkpoints.statements import Operation, Row, Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langgraph.checkpoint.serde.base import SerializerProtocol

KEEP_LATEST, DELETE = STRATEGIES = ("keep_latest", "delete")

HEADS = "SELECT checkpoint_ns, max(checkpoint_id) FROM checkpoints WHERE thread_id = ? GROUP BY checkpoint_ns"
EXISTS = f"SELECT 1 {NAMESPACE} AND checkpoint_id = ?"
IDS = f"SELECT checkpoint_id {NAMESPACE}"
DELETE_NAMESPACE = (
    "DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?",
    "DELETE FROM writes WHERE thread_id = ? AND checkpoint_ns = ?",
)


class Head(NamedTuple):
    """The newest checkpoint of a namespace."""

    row: Row  # COLUMNS
    metadata: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.row[2])

    @property
    def root_id(self) -> str | None:
        """The root graph's checkpoint from which this subgraph was called."""
        parents = self.metadata.get("parents")
        root_id = parents.get("") if isinstance(parents, dict) else None
        return root_id if isinstance(root_id, str) else None


def check(thread_ids: Sequence[str], strategy: str) -> None:
    """Raise TypeError for a string of threads, ValueError for a strategy that does not exist."""
    if isinstance(thread_ids, str):
        raise TypeError("thread_ids is one string; give a list of thread ids")
    if strategy not in STRATEGIES:
        raise ValueError(f"no pruning strategy {strategy!r}; there are {' and '.join(map(repr, STRATEGIES))}")


def prune(serde: SerializerProtocol, thread_id: str, strategy: str) -> Operation[None]:
    """Delete all of a thread, or all that its heads do not need."""
    return delete_thread(thread_id) if strategy == DELETE else _keep_latest(serde, thread_id)


def _keep_latest(serde: SerializerProtocol, thread_id: str) -> Operation[None]:
    heads = yield from _heads(serde, thread_id)
    past = yield from _past_calls(thread_id, heads)
    needs = Needs(serde, thread_id)
    for checkpoint_ns, head in heads.items():
        if checkpoint_ns in past:
            for sql in DELETE_NAMESPACE:
                yield Statement(sql, (thread_id, checkpoint_ns))
        else:
            ids = yield from select(IDS, (thread_id, checkpoint_ns))
            kept = {head.id, *(yield from needs.of(head.row))}
            yield from delete_checkpoints(thread_id, checkpoint_ns, {id for (id,) in ids} - kept)


def _heads(serde: SerializerProtocol, thread_id: str) -> Operation[dict[str, Head]]:
    heads: dict[str, Head] = {}
    for checkpoint_ns, checkpoint_id in (yield from select(HEADS, (thread_id,))):
        row = (yield from select(BY_ID, (thread_id, checkpoint_ns, checkpoint_id)))[0]
        metadata: Any = decode_metadata(serde, row[-1])
        heads[checkpoint_ns] = Head(row, metadata if isinstance(metadata, dict) else {})
    return heads


def _past_calls(thread_id: str, heads: dict[str, Head]) -> Operation[set[str]]:
    """Return the namespaces of subgraph calls that the root's head does not go on with.

    A call's namespace ends in its task's id. One without is a subgraph with a memory of its own
    (`checkpointer=True`), which the next call goes on with.
    """
    past: set[str] = set()
    for checkpoint_ns, head in heads.items():
        root_id = head.root_id if ":" in checkpoint_ns and "" in heads else None
        if root_id is not None and root_id != heads[""].id:
            # A root that is not there yet: its run stores it after the subgraph's.
            past.update({checkpoint_ns} if (yield from select(EXISTS, (thread_id, "", root_id))) else ())
    return past
