"""Pruning: deleting of a thread what its heads do not need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from checkpoints.saver.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checkpoints.saver.tables import Described, Tables
    from checkpoints.statements import Operation

KEEP_LATEST, DELETE = STRATEGIES = ("keep_latest", "delete")


def check(thread_ids: Sequence[str], strategy: str) -> None:
    """Raise TypeError for a string of threads, ValueError for a strategy that does not exist."""
    if isinstance(thread_ids, str):
        raise TypeError("thread_ids is one string; give a list of thread ids")
    if strategy not in STRATEGIES:
        raise ValueError(f"no pruning strategy {strategy!r}; there are {' and '.join(map(repr, STRATEGIES))}")


def prune(tables: Tables[Any], thread_id: str, strategy: str) -> Operation[None]:
    """Delete all of a thread, or all that its heads do not need."""
    return tables.delete_thread(thread_id) if strategy == DELETE else _keep_latest(tables, thread_id)


class Latest(NamedTuple):
    """What stays of a thread when its newest checkpoints are kept; nothing of namespaces that are `past`."""

    heads: Mapping[str, Described]
    kept: Mapping[str, set[str]]
    past: set[str]


def latest(tables: Tables[Any], thread_id: str) -> Operation[Latest]:
    """Find the newest checkpoints of a thread and what they need. Nothing is written."""
    heads = {head.checkpoint_ns: head for head in (yield from tables.heads(thread_id))}
    past = yield from _past_calls(tables, thread_id, heads)
    needs = Needs(tables, thread_id)
    kept = {}
    for checkpoint_ns in heads.keys() - past:
        head = heads[checkpoint_ns]
        kept[checkpoint_ns] = {head.checkpoint_id, *(yield from needs.of(head))}
    return Latest(heads, kept, past)


def _keep_latest(tables: Tables[Any], thread_id: str) -> Operation[None]:
    found = yield from latest(tables, thread_id)
    if found.past:
        yield from tables.delete_namespaces(thread_id, found.past)
    for checkpoint_ns, kept in found.kept.items():
        ids = yield from tables.links(thread_id, checkpoint_ns)
        yield from tables.delete_checkpoints(thread_id, checkpoint_ns, ids.keys() - kept)


def root_of(metadata: Any) -> str | None:
    """Return the root graph's checkpoint that metadata names, from which its subgraph was called."""
    parents = metadata.get("parents") if isinstance(metadata, dict) else None
    root_id = parents.get("") if isinstance(parents, dict) else None
    return root_id if isinstance(root_id, str) else None


def _past_calls(tables: Tables[Any], thread_id: str, heads: Mapping[str, Described]) -> Operation[set[str]]:
    """Return the namespaces of subgraph calls that the root's head does not go on with.

    A call's namespace ends in its task's id. One without is a subgraph with a memory of its own
    (`checkpointer=True`), which the next call goes on with.
    """
    if "" not in heads:
        return set()
    calls = {ns: head.root_id for ns, head in heads.items() if ":" in ns and head.root_id is not None}
    roots = set(calls.values()) - {heads[""].checkpoint_id}
    # A root that is not there yet: its run stores it after the subgraph's.
    saved = set((yield from tables.existing(thread_id, "", roots))) if roots else set()
    return {checkpoint_ns for checkpoint_ns, root_id in calls.items() if root_id in saved}
