"""What a run from a checkpoint does, or from a fork of it, derived: no store says so.

As of LangGraph 1.2. Tests hold each against what it does with real graphs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.tasks import triggers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from checkpoints.steps import Step
    from checkpoints.tasks import Interrupt, Task


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the next invoke does from a fork.

    `runs` are the nodes that run, those that have run from the copied checkpoint as well among them: `again`.
    `reused` are the nodes whose writes are kept, so that they do not run. `asks` are the interrupts: asked
    again by a fork in place, still waiting in a new thread.
    """

    runs: tuple[str, ...]
    again: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    asks: tuple[Interrupt, ...] = ()


def in_place(step: Step, edited: Collection[str] = ()) -> Outlook:
    """Return what follows a fork in place: no pending write is copied, so all that is next runs.

    An `edited` channel has a new version, which wakes the nodes that react to the channel itself.
    """
    ran = [task for task in step.ran if task.finished or task.interrupts or task.failed]
    woken = {node for node, channels in triggers([step.at]).items() if channels & set(edited)}
    return Outlook(
        runs=(*step.next, *sorted(woken - set(step.next))),
        again=_nodes(ran),
        asks=tuple(asked for task in ran for asked in task.interrupts),
    )


def replayed(step: Step) -> Outlook:
    """Return what a run does that is addressed at this checkpoint, without an input: all that is next runs.

    LangGraph travels back in time then: it uses nothing of what ran from here before, also of the head.
    """
    return in_place(step)


def continued(step: Step) -> Outlook:
    """Return what a run does that goes on at this head: what has finished is not run again."""
    return in_new_thread(step)


def resumed(step: Step, *, head: bool) -> Outlook:
    """Return what a run does that answers the interrupts here; at the `head` what has finished is kept.

    `asks` are those that wait.
    """
    if head:
        return in_new_thread(step)
    done = [task for task in step.ran if task.finished]
    return Outlook(runs=step.next, again=_nodes(done), asks=waiting(step))


def begun_anew(step: Step) -> Outlook:
    """Return what a run does that gives this checkpoint a new input: it starts at the graph's beginning.

    `again` are the nodes whose turn it was: LangGraph discards what was next.
    """
    return Outlook(runs=(), again=step.next)


def in_new_thread(step: Step) -> Outlook:
    """Return what follows a fork into a new thread: what has finished is not run again."""
    done = [task for task in step.ran if task.finished]
    left = Counter(step.next) - Counter(_nodes(done))
    return Outlook(
        runs=tuple(left.elements()),
        reused=_nodes(done),
        asks=waiting(step),
    )


def waiting(step: Step) -> tuple[Interrupt, ...]:
    """Return the interrupts that wait for an answer at a checkpoint."""
    return tuple(asked for task in step.ran if task.waiting for asked in task.interrupts)


def _nodes(tasks: Iterable[Task]) -> tuple[str, ...]:
    return tuple(task.node for task in tasks if task.node)
