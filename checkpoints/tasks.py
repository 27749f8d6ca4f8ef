"""Tasks of a superstep, derived: a store keeps their writes, but neither their names nor the plan.

LangGraph plans the next tasks from the graph. Without the graph the store still tells most of it: the
channels that trigger a node are named after it, `versions_seen` says which versions each node has seen,
and the path of a task that has written names its node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from checkpoints.channels import ERROR, INTERRUPT, NULL_TASK, RESUME, SCHEDULED, SENDS, START, fits, trigger
from checkpoints.inert import payload

if TYPE_CHECKING:
    from checkpoints.snapshot import PendingWrite, Snapshot

RESERVED_NODES = frozenset({"__input__", INTERRUPT})

PULL = re.compile(r"~__pregel_pull, (?P<node>.*)", re.DOTALL)
PUSH = re.compile(r"~__pregel_push, (?P<index>\d{1,18}), \d+")
CALL = re.compile(r"~__pregel_push, ~__pregel_pull, (?P<node>.*), (?P<index>\d{1,18}), \d+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A question that a task asked with `interrupt(value)`."""

    value: Any
    id: str | None


@dataclass(frozen=True, slots=True)
class Task:
    """One task that ran from a checkpoint, with what it left there.

    `node` is None where the store does not tell it. `error` is the stored text of the exception.
    """

    id: str
    node: str | None
    path: str
    writes: tuple[PendingWrite, ...]
    interrupts: tuple[Interrupt, ...] = ()
    error: Any = None
    failed: bool = False
    resumes: int = 0

    @property
    def finished(self) -> bool:
        """The task's own writes are stored, so a resume does not run it again."""
        return any(not _is_control(write.channel) for write in self.writes)

    @property
    def waiting(self) -> bool:
        return bool(self.interrupts) and not self.finished

    @property
    def state(self) -> Literal["failed", "waiting", "finished", "open"]:
        if self.failed:
            return "failed"
        if self.waiting:
            return "waiting"
        return "finished" if self.finished else "open"


def tasks(writes: Iterable[PendingWrite], sends: Sequence[str | None] = ()) -> tuple[Task, ...]:
    """Group a checkpoint's pending writes by the task that made them, in stored order."""
    by_task: dict[str, list[PendingWrite]] = {}
    for write in writes:
        by_task.setdefault(write.row.task_id, []).append(write)
    return tuple(_task(id, group, sends) for id, group in by_task.items())


def _task(id: str, group: list[PendingWrite], sends: Sequence[str | None]) -> Task:
    path = group[0].row.task_path
    errors = [write.value for write in group if write.channel == ERROR]
    return Task(
        id=id,
        node=None if id == NULL_TASK else node_of_path(path, sends),
        path=path,
        writes=tuple(group),
        interrupts=tuple(i for write in group if write.channel == INTERRUPT for i in interrupts(write.value)),
        error=errors[0] if errors else None,
        failed=bool(errors),
        resumes=sum(1 for write in group if write.channel == RESUME),
    )


def node_of_path(path: str, sends: Sequence[str | None] = ()) -> str | None:
    """Return the node a task path names; `sends` are the nodes of the checkpoint's Send list."""
    if call := CALL.fullmatch(path):
        return f"{call['node']} › task {int(call['index']) + 1}"
    if pull := PULL.fullmatch(path):
        return pull["node"]
    if push := PUSH.fullmatch(path):
        index = int(push["index"])
        return sends[index] if index < len(sends) else None
    return None


def interrupts(value: Any) -> Iterator[Interrupt]:
    """Yield the questions in the value of an `__interrupt__` write."""
    for item in value if isinstance(value, (list, tuple)) else [value]:
        fields = _fields(item)
        id = fields.get("id") or fields.get("interrupt_id") or fields.get("ns")
        yield Interrupt(value=fields.get("value", item), id=id if isinstance(id, str) else None)


def _fields(item: Any) -> Mapping[str, Any]:
    inside = payload(item)
    if isinstance(inside, Mapping):
        return inside
    return {"value": inside[0]} if isinstance(inside, (list, tuple)) and inside else {}


def send_nodes(value: Any) -> tuple[str | None, ...]:
    """Return the node of each Send in a `__pregel_tasks` value, None where it cannot be read."""
    return tuple(_send_node(item) for item in value) if isinstance(value, (list, tuple)) else ()


def _send_node(item: Any) -> str | None:
    inside = payload(item)
    if isinstance(inside, Mapping):
        node = inside.get("node")
    else:
        node = inside[0] if isinstance(inside, (list, tuple)) and inside else None
    return node if isinstance(node, str) else None


def pending_sends(at: Snapshot, parent_writes: Iterable[PendingWrite] = ()) -> tuple[str | None, ...]:
    """Return the nodes of the Sends that run from this checkpoint.

    Before version 4 they are not a channel of it but writes of its parent.
    """
    if stored := send_nodes(at.values.get(SENDS)):
        return stored
    if isinstance(version := at.content.get("v"), int) and version >= 4:
        return ()
    if sends := send_nodes(at.content.get("pending_sends")):
        return sends
    ordered = [write for write in parent_writes if write.channel == SENDS]
    return tuple(
        node
        for write in ordered
        for node in send_nodes(write.value if isinstance(write.value, (list, tuple)) else [write.value])
    )


def triggers(known: Iterable[Snapshot]) -> dict[str, set[str]]:
    """Return the channels that each node has been seen to react to, learnt from checkpoints of its graph."""
    learnt: dict[str, set[str]] = {}
    for at in known:
        for node, seen in at.seen.items():
            if node not in RESERVED_NODES:
                learnt.setdefault(node, set()).update(seen)
    return learnt


def next_nodes(
    at: Snapshot,
    sends: Sequence[str | None] = (),
    ran: Iterable[Task] = (),
    learnt: Mapping[str, set[str]] | None = None,
) -> tuple[str, ...]:
    """Return the nodes that run from this checkpoint: Sends first, then the triggered ones by name.

    `ran` are the tasks that have already left writes here; they name nodes that no channel names. `learnt`
    are the `triggers` of other checkpoints: before LangGraph 0.3 an edge's channel names only the node that
    it comes from, and comes from the last node too, so a node that has never run is not found.
    """
    pulled = set(_triggered(at)) | _awakened(at, triggers([at]) if learnt is None else learnt)
    pulled |= {task.node for task in ran if task.node and PULL.fullmatch(task.path)}
    if START in pulled and len(pulled) > 1:
        pulled.discard(START)
    return (*(node or "?" for node in sends), *sorted(pulled))


def _triggered(at: Snapshot) -> Iterator[str]:
    """Yield the nodes named by a trigger channel that holds a value they have not seen."""
    for channel, value in at.values.items():
        found = trigger(channel)
        if found is None or not fits(found, value, at.seen) or _is_unfinished_last(value):
            continue
        if channel.startswith("join:") and not found.names <= _members(value):
            continue
        if _is_newer(at.versions.get(channel), at.seen.get(found.node, {}).get(channel)):
            yield found.node


def _is_unfinished_last(value: Any) -> bool:
    # A deferred node's trigger is stored as a pair: the value, and whether the graph has come to its end.
    return isinstance(value, (list, tuple)) and len(value) == 2 and value[1] is False


def _members(value: Any) -> set[str]:
    """Return the names that a join has seen; a deferred one is a pair with whether the graph has ended."""
    items = payload(value)
    match items:
        case [names, bool() as ended]:
            items = payload(names) if ended else ()
    return {item for item in items if isinstance(item, str)} if isinstance(items, (list, tuple)) else set()


def _awakened(at: Snapshot, learnt: Mapping[str, set[str]]) -> set[str]:
    """Return the nodes with a known trigger that holds a value they have not seen."""
    return {node for node, channels in learnt.items() if any(_wakes(at, node, name) for name in channels)}


def _wakes(at: Snapshot, node: str, channel: str) -> bool:
    return (
        channel in at.values
        and not channel.startswith("join:")
        and _is_newer(at.versions.get(channel), at.seen.get(node, {}).get(channel))
        and not _is_unfinished_last(at.values[channel])
    )


def _is_newer(version: Any, seen: Any) -> bool:
    if version is None:
        return False
    if seen is None:
        return True
    try:
        return bool(version > seen)
    except TypeError:
        return str(version) > str(seen)


def wrote(at: Snapshot, parent: Snapshot | None, parent_tasks: Iterable[Task] = ()) -> tuple[str, ...]:
    """Return the nodes whose writes made this checkpoint out of its parent, as far as the store tells.

    A fork has been made of its parent by those that have made what it copies.
    """
    stored = at.metadata.get("writes")
    if isinstance(stored, Mapping) and at.source in {"loop", "update"}:
        return tuple(str(node) for node in stored)
    if at.source not in {"loop", "fork"} or parent is None:
        return ()
    advanced = {node for node, seen in at.seen.items() if seen != parent.seen.get(node)} - RESERVED_NODES
    pushed = [
        task.node for task in parent_tasks if task.node and PUSH.fullmatch(task.path) and not task.failed
    ]
    return tuple(dict.fromkeys((*sorted(advanced), *pushed)))


def _is_control(channel: str) -> bool:
    return channel in {ERROR, INTERRUPT, RESUME, SCHEDULED}
