"""What state a thread is in, derived from its head: nothing in a store says so."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checkpoints.snapshot import Snapshot
    from checkpoints.tasks import Task


class Status(StrEnum):
    """The state of a thread's head.

    `idle`: nothing is to run. `interrupted`: a task waits for an answer. `error`: a task failed and has not
    succeeded since. `pending`: tasks are to run; a store does not tell whether they run now, were cut off or
    wait at a breakpoint. `unreadable`: the head cannot be decoded.
    """

    IDLE = "idle"
    INTERRUPTED = "interrupted"
    ERROR = "error"
    PENDING = "pending"
    UNREADABLE = "unreadable"


def status(head: Snapshot, tasks: Iterable[Task], next_nodes: Sequence[str]) -> Status:
    """Derive the status of the thread whose head this is."""
    tasks = tuple(tasks)
    if any(task.failed and not task.finished for task in tasks):
        return Status.ERROR
    if any(task.waiting for task in tasks):
        return Status.INTERRUPTED
    if head.problem:
        return Status.UNREADABLE
    return Status.PENDING if next_nodes else Status.IDLE
