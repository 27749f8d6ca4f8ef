"""Checkpoints as steps: each with its parent, the tasks before and after it, and what runs next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoints.snapshot import PendingWrite, Snapshot
from checkpoints.stores.siblings import AUTHOR, REASON, REPLAY_METADATA
from checkpoints.tasks import Task, next_nodes, pending_sends, tasks, triggers, wrote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checkpoints.inert import InertSerializer
    from checkpoints.stores.records import TimelinePage

DELTA_COUNTERS = "counters_since_delta_snapshot"
# What LangGraph writes into the metadata itself; `score` and `writes` up to 0.4.
LANGGRAPH_METADATA = frozenset({"source", "step", "parents", "writes", DELTA_COUNTERS, "thread_id", "score"})
FORK_METADATA = frozenset({REASON, AUTHOR})


@dataclass(frozen=True, slots=True)
class Step:
    """A checkpoint with what can only be told together with its parent."""

    at: Snapshot
    parent: Snapshot | None
    before: tuple[Task, ...]
    ran: tuple[Task, ...]
    next: tuple[str, ...]
    wrote: tuple[str, ...]

    @property
    def own_metadata(self) -> dict[str, Any]:
        """The metadata that is the application's own, not LangGraph's and not of a fork or a replay."""
        others = LANGGRAPH_METADATA | {*REPLAY_METADATA}
        if self.at.source == "fork":
            others |= FORK_METADATA
        return {str(key): value for key, value in self.at.metadata.items() if key not in others}

    @property
    def deltas(self) -> dict[str, list[Any]]:
        """What the step wrote to each DeltaChannel, whose value most checkpoints do not hold."""
        counted = self.at.metadata.get(DELTA_COUNTERS)
        names = set(counted if isinstance(counted, dict) else ()) - set(self.at.values)
        return {
            name: [w.value for task in self.before for w in task.writes if w.channel == name]
            for name in sorted(names)
        }


def steps(page: TimelinePage, serde: InertSerializer) -> list[Step]:
    """Decode a page and relate each checkpoint to its parent, also where that is on another page."""
    found = {row.checkpoint_id: Snapshot(row, serde) for row in (*page.parents.values(), *page.checkpoints)}
    writes = {id: [PendingWrite(row, serde) for row in rows] for id, rows in page.writes.items()}
    sends = {id: pending_sends(at, writes.get(at.parent_id or "", ())) for id, at in found.items()}
    ran = {id: tasks(writes.get(id, ()), sends[id]) for id in found}
    learnt = triggers(found.values())
    return [_step(found[row.checkpoint_id], found, ran, sends, learnt) for row in page.checkpoints]


def _step(
    at: Snapshot,
    found: Mapping[str, Snapshot],
    ran: Mapping[str, tuple[Task, ...]],
    sends: Mapping[str, tuple[str | None, ...]],
    learnt: Mapping[str, set[str]],
) -> Step:
    parent = found.get(at.parent_id or "")
    before = ran[parent.id] if parent else ()
    plan = next_nodes(at, sends[at.id], ran[at.id], learnt)
    return Step(at, parent, before, ran[at.id], plan, wrote(at, parent, before))
