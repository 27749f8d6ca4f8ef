"""The queue of replays: Django's tasks, in the app's database.

A queue has the replays of one graph on one store. A worker asks those queues alone whose graphs and stores it
has, so that none takes what it cannot run. The task carries an id only: whether the replay is run is decided
by its row, so a task that comes twice does nothing the second time.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("django.tasks"):
    from django.tasks import task  # type: ignore[import-not-found,no-redef,unused-ignore]
else:
    from django_tasks import task  # type: ignore[no-redef,unused-ignore]

if TYPE_CHECKING:
    from explorer.models import Replay


@task()  # type: ignore[untyped-decorator,unused-ignore]
def carry_out(replay: str) -> None:
    """Run a replay, if nobody has, from the worker that this is."""
    from explorer.replays.supervision import supervise

    supervise(replay)


def enqueue(replay: Replay) -> None:
    """Let a worker take a replay that names a graph; one without waits for whoever claims it."""
    if replay.graph:
        task: Any = carry_out
        task.using(queue_name=queue_name(replay.store, replay.graph)).enqueue(str(replay.id))


def queue_name(store: str, graph: str) -> str:
    """Return the queue of a graph on a store: at most 32 characters, and no name in it."""
    return sha256(f"{store}\0{graph}".encode()).hexdigest()[:32]
