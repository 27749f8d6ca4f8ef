"""Tasks in words, and the unfinished next step that they make up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoints.channels import is_control
from checkpoints.outline import brief
from explorer.bounds import TASKS, first, listed
from explorer.wording import short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checkpoints.steps import Step
    from checkpoints.tasks import Task


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A task that ran from a checkpoint: `state` is waiting, failed, finished or open."""

    id: str
    node: str
    state: str
    channels: str
    questions: tuple[str, ...]
    error: str
    resumes: int


@dataclass(frozen=True, slots=True)
class Pending:
    """The unfinished next step of a namespace: what waits, failed or is still to run."""

    title: str
    state: str
    tasks: tuple[TaskLine, ...]


def pending_card(head: Step) -> Pending | None:
    """Return the unfinished next step of a namespace, None when nothing is to run from its head."""
    unfinished = [task for task in head.ran if not task.finished]
    if not head.next and not any(task.failed or task.interrupts for task in unfinished):
        return None
    return Pending(
        title=", ".join(counted(head.next)) or "unknown",
        state=_pending_state(head, unfinished),
        tasks=tuple(task_line(task) for task in first(head.ran, TASKS)[0]),
    )


def _pending_state(head: Step, unfinished: Sequence[Task]) -> str:
    if any(task.failed for task in unfinished):
        return "failed"
    if any(task.waiting for task in unfinished):
        return "waiting"
    finished = Counter(task.node for task in head.ran if task.finished and task.node)
    return "to run" if Counter(head.next) - finished else "has run"


def task_line(task: Task) -> TaskLine:
    """Describe a task in words."""
    named = [write.channel for write in task.writes if not is_control(write.channel, None, ())]
    return TaskLine(
        id=task.id,
        node=task.node or ("resume" if task.resumes else f"task {short(task.id)}"),
        state=task.state,
        channels=listed(dict.fromkeys(named), TASKS),
        questions=tuple(question(asked.value) for asked in first(task.interrupts, TASKS)[0]),
        error=_error_text(task.error) if task.failed else "",
        resumes=task.resumes,
    )


def question(value: Any) -> str:
    """Return what an interrupt asks, with the words first where the value has words for it."""
    match value:
        case str():
            return value[:2_000]
        case {"question": str() as question, **others}:
            return f"{question}  {brief(others, 300)}" if others else question
    return brief(value, 400)


def _error_text(error: Any) -> str:
    return error[:20_000] if isinstance(error, str) else brief(error, 2_000)


def next_text(step: Step) -> str:
    """Name the nodes that run from here, each with the channels that its tasks have written."""
    ran = [task_line(task) for task in step.ran if not task.failed]
    written = [
        f"{line.node} → {line.channels or 'nothing of the state'}" for line in ran if line.state == "finished"
    ]
    waiting = list(step.next)
    for task in step.ran:
        if task.node in waiting and task.finished:
            waiting.remove(task.node)
    named = ", ".join(counted((*waiting, *written)))
    return f"next: {named}" if named else ""


def counted(names: Iterable[str]) -> Iterable[str]:
    """Name each once, with how often it is there."""
    counts, beyond = first(Counter(names).items(), TASKS)
    named = [name if times == 1 else f"{times} × {name}" for name, times in counts]
    return [*named, *([f"{beyond:,} more"] if beyond else [])]
