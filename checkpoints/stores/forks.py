"""Forks in the terms of a store: what they are made of, and what every database does alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from checkpoints.channels import NULL_TASK
from checkpoints.errors import CheckpointChanged, CheckpointNotFound
from checkpoints.saver.ids import following
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from checkpoints.splicing.seals import Seal
    from checkpoints.statements import Operation

Sizes: TypeAlias = Mapping[str, Size]
"""Rows and bytes by table."""


@dataclass(frozen=True, slots=True)
class Forked:
    """What a fork has written: the checkpoint that is the head now, and the rows of each table.

    `former` is the head that a fork in place has taken the place of.
    """

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    tables: Sizes
    namespaces: tuple[str, ...]
    former: str | None = None


@dataclass(frozen=True, slots=True)
class Belongings:
    """What a checkpoint is made of: checkpoints by namespace, oldest first, with their writes.

    Left out are the writes of `unfinished` tasks (namespace, checkpoint, task): the checkpoint is one in the
    middle of theirs.
    """

    ids: Mapping[str, tuple[str, ...]]
    unfinished: tuple[tuple[str, str, str], ...] = ()

    @property
    def keys(self) -> list[tuple[str, str]]:
        """The checkpoints as namespace and id."""
        return [(ns, id) for ns, ids in self.ids.items() for id in ids]


class Call(NamedTuple):
    """A checkpoint of a subgraph. `parents` are those of the graphs around it, None where it does not say."""

    checkpoint_ns: str
    checkpoint_id: str
    parents: Mapping[str, str] | None


class Draft(Protocol):
    """A fork in place, made up but for its id and time. `step` is that of the checkpoint that it copies."""

    step: int

    def put(self, id: str, ts: str) -> Operation[Sizes]:
        """Store it. Raises CheckpointChanged when what it copies is no more what it was."""


class Forks(Protocol):
    """What a database does for forks."""

    def draft(self, source: Any, values: Mapping[str, Any], note: Mapping[str, str], seal: Seal) -> Draft:
        """Make up a copy of a checkpoint with other values in some channels. Raises ForkRefused."""

    def source(self, thread_id: str, checkpoint_ns: str, id: str, edited: Collection[str]) -> Operation[Any]:
        """Read what a draft needs of a checkpoint. Raises CheckpointNotFound."""

    def reserve(self, thread_id: str) -> Operation[None]:
        """Let one at a time write a fork into a thread."""

    def head(self, thread_id: str, checkpoint_ns: str) -> Operation[str | None]:
        """Return the greatest id of a namespace."""

    def chain(self, thread_id: str, checkpoint_ns: str, id: str) -> Operation[list[str]]:
        """Return the ids of a checkpoint and its ancestors, the nearest first."""

    def calls(self, thread_id: str) -> Operation[list[Call]]:
        """Return the checkpoints of all subgraphs."""

    def existing(self, thread_id: str, checkpoint_ns: str, ids: Sequence[str]) -> Operation[set[str]]:
        """Return those of these checkpoints that there are."""

    def sizes(self, thread_id: str, belongings: Belongings) -> Operation[Sizes]:
        """Count what a copy of these would write."""

    def stage(self, belongings: Belongings) -> Operation[None]:
        """Make ready what is to be copied, before anything is locked."""

    def copy(self, thread_id: str, belongings: Belongings, target: str) -> Operation[Mapping[str, int]]:
        """Copy what was staged into another thread, byte for byte, and count the rows of each table.

        Raises ThreadExists.
        """


def put_in_place(forks: Forks, thread_id: str, checkpoint_ns: str, draft: Draft) -> Operation[Forked]:
    """Store a fork as the head of its namespace."""
    yield from forks.reserve(thread_id)
    head = yield from forks.head(thread_id, checkpoint_ns)
    id = following(head, draft.step)
    tables = yield from draft.put(id, datetime.now(UTC).isoformat())
    return Forked(thread_id, checkpoint_ns, id, tables, (checkpoint_ns,), head)


def put_in_new_thread(
    forks: Forks, thread_id: str, found: Belongings, planned: Sizes, target: str
) -> Operation[Sizes]:
    """Copy what a checkpoint is made of into a new thread. Raises ThreadExists and CheckpointChanged."""
    copied = yield from forks.copy(thread_id, found, target)
    if copied["checkpoints"] != len(found.keys):
        raise CheckpointChanged("Some of the checkpoints have been deleted meanwhile.")
    return {table: Size(rows, planned[table].bytes) for table, rows in copied.items()}


def belongings(forks: Forks, thread_id: str, checkpoint_ns: str, id: str) -> Operation[Belongings]:
    """Return what a checkpoint is made of. Raises CheckpointNotFound.

    These are its ancestors, and the checkpoints of the subgraphs that were called from any of them. That of a
    subgraph has its place in the graphs around it, too, as far as those had come.
    """
    calls = yield from forks.calls(thread_id)
    around = _around(calls, checkpoint_ns, id)
    chains: dict[str, list[str]] = {}
    for ns, at in around.items():
        chains[ns] = yield from forks.chain(thread_id, ns, at)
    if not chains[checkpoint_ns]:
        raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
    within = yield from _with_unsaved(forks, thread_id, chains, calls)
    found = {ns: list(chain) for ns, chain in chains.items() if chain}
    for call in calls:
        if call.checkpoint_ns not in chains and _belongs(call, within):
            found.setdefault(call.checkpoint_ns, []).append(call.checkpoint_id)
    ids = {ns: tuple(sorted(found[ns])) for ns in sorted(found)}
    past = any(call.checkpoint_ns == checkpoint_ns and call.checkpoint_id > id for call in calls)
    return Belongings(ids, tuple(_tasks_around(around)) if past else ())


def measured(
    forks: Forks, thread_id: str, checkpoint_ns: str, id: str
) -> Operation[tuple[Belongings, Sizes]]:
    """Return what a checkpoint is made of, and what copying it would write."""
    found = yield from belongings(forks, thread_id, checkpoint_ns, id)
    return found, (yield from forks.sizes(thread_id, found))


def _around(calls: Iterable[Call], checkpoint_ns: str, id: str) -> dict[str, str]:
    """Return the checkpoint by its namespace, and those of the graphs around its own by theirs."""
    if not checkpoint_ns:
        return {"": id}
    own = next(
        (call for call in calls if (call.checkpoint_ns, call.checkpoint_id) == (checkpoint_ns, id)), None
    )
    parents = (own and own.parents) or {}
    outer = {ns: parents[ns] for ns in _outer(checkpoint_ns) if ns in parents}
    return {**outer, checkpoint_ns: id}


def _outer(checkpoint_ns: str) -> Iterator[str]:
    """Yield the namespaces around one, from the root's on."""
    levels = checkpoint_ns.split("|")
    for depth in range(len(levels)):
        yield "|".join(levels[:depth])


def _with_unsaved(
    forks: Forks, thread_id: str, chains: Mapping[str, list[str]], calls: Iterable[Call]
) -> Operation[dict[str, set[str]]]:
    """Return the chains with those checkpoints that were not stored and lie before their ends.

    A graph that stores its state when it ends (`durability="exit"`) has called subgraphs from others before.
    """
    within = {ns: set(chain) for ns, chain in chains.items()}
    for ns, chain in chains.items():
        named = {at for call in calls for at in [(call.parents or {}).get(ns)] if at}
        before = sorted(at for at in named - within[ns] if chain and at < chain[0])
        stored = yield from forks.existing(thread_id, ns, before)
        within[ns] |= set(before) - stored
    return within


def _belongs(call: Call, within: Mapping[str, Collection[str]]) -> bool:
    """Tell whether a subgraph's checkpoint was called from these. One that does not say so may have been."""
    parents = call.parents or {}
    return all(at in within[ns] for ns, at in parents.items() if ns in within)


def _tasks_around(around: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield the tasks that call each subgraph from the graph around it, with those that have resumed it.

    A namespace ends in its task's id.
    """
    for ns in around:
        outer, _, level = ns.rpartition("|")
        _, colon, task_id = level.rpartition(":")
        if colon and outer in around:
            yield outer, around[outer], task_id
            yield outer, around[outer], NULL_TASK


def parents_of(text: str | None) -> Mapping[str, str] | None:
    """Return the checkpoints that a JSON text names by namespace, None where it is no such object."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {ns: id for ns, id in found.items() if _is_text(ns) and _is_text(id)}


def _is_text(name: Any) -> bool:
    try:
        return isinstance(name, str) and bool(name.encode() or True)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
