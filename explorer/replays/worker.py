"""The worker: it takes replays from the queue, a few at a time, and tells that it is there."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import uuid
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone
from django_tasks_db.management.commands.db_worker import Worker as QueueWorker
from django_tasks_db.models import DBTaskResult

from explorer import models, stores
from explorer.replays import graphs, requests, runs, supervision
from explorer.replays.queue import enqueue, queue_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from explorer.graphs.sources import GraphSource

INTERVAL = 0.4  # seconds between two looks at an empty queue
SEEN = 5  # seconds between two signs of life, at most
KEPT = timedelta(days=1)  # how long the queue remembers what it has delivered
# A request that nobody has taken for so long is not run when a worker comes at last: much may have changed.
PATIENCE = timedelta(days=1)
TOO_LATE = "No worker took it within a day. Ask again if it is still wanted."
FORGOTTEN = timedelta(seconds=20)  # after which a queued replay is looked for in the queue
LOOK = 2  # seconds between two looks whether a graph's file has changed
BROKEN = 15  # seconds until a graph that cannot be imported is tried again
PAUSE = 2  # seconds until a database that was away is asked again


class Worker:
    """The loops of one process: `concurrency` that run replays, one that tells of them."""

    def __init__(self, concurrency: int) -> None:
        self._id = uuid.uuid4()
        self._keys = list(stores.by_key())
        self._sources = graphs.sources()
        self._told: dict[str, dict[str, Any]] = {each.name: {"where": _where(each)} for each in self._sources}
        self._loops = [self._queue_worker(number) for number in range(concurrency)]
        self._done = threading.Event()
        self._away = False

    def run(self, *, beside_a_server: bool) -> None:
        """Work until a signal comes; beside a server until that is gone, too, and what runs has ended."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN if beside_a_server else self._stop)
        threads = [threading.Thread(target=self._loop, args=[each]) for each in self._loops]
        tells = [threading.Thread(target=self._live, daemon=True)]
        tells += [
            threading.Thread(target=self._describe, args=each, daemon=True)
            for each in _by_module(self._sources)
        ]
        if beside_a_server:
            tells.append(threading.Thread(target=self._outlive, daemon=True))
        for thread in (*tells, *threads):
            thread.start()
        for thread in threads:
            while thread.is_alive():  # a join without an end would keep signals waiting
                thread.join(0.2)
        self._done.set()
        self._leave()

    def _queue_worker(self, number: int) -> QueueWorker:
        names = [queue_name(key, each.name) for key in self._keys for each in self._sources]
        return QueueWorker(
            queue_names=names,
            interval=INTERVAL,
            batch=False,
            backend_name="default",
            startup_delay=False,
            max_tasks=None,
            worker_id=f"{self._id.hex}-{number}",
            excluded_queue_names=[],
        )

    def _loop(self, worker: QueueWorker) -> None:
        while worker.running:
            try:
                worker.run()
            except (DatabaseError, OSError):
                if not self._away:
                    logging.getLogger(__name__).exception("The app's database does not answer.")
                self._away = True
                connection.close()
                time.sleep(PAUSE)
        connection.close()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """End what runs, soon. What has not begun stays queued."""
        supervision.stopping.set()
        self._finish()

    def _finish(self) -> None:
        """Begin nothing any more."""
        for each in self._loops:
            each.running = False

    def _outlive(self) -> None:
        """Wait for the end of the server, and let what runs come to its own end."""
        while sys.stdin.read(1):
            pass
        self._finish()

    def _describe(self, *sources: GraphSource) -> None:
        """Import the graphs of a module in a process of its own, so that their nodes or errors can be shown.

        Again when the file has changed, and where one cannot be imported now and then.
        """
        seen, again = 0.0, 0.0
        while not self._done.is_set():
            changed, now = _changed_at(sources[0]), time.monotonic()
            if changed != seen or now > again:
                seen = changed
                told = runs.described(*sources)
                for source in sources:
                    self._learn(source, told.get(source.name, {}))
                broken = any("problem" in each for each in told.values())
                again = time.monotonic() + (BROKEN if broken else inf)
                self._tell()
            self._done.wait(LOOK)

    def _learn(self, source: GraphSource, told: dict[str, Any]) -> None:
        if "problem" in told and "problem" not in self._told[source.name]:
            complain(f"The graph {source.name!r} cannot be imported. The page of the replays says why.")
        self._told[source.name] = {"where": _where(source), **told}

    def _live(self) -> None:
        """Tell that this worker is there, and look after what others have left behind."""
        while not self._done.is_set():
            self._tell()
            self._asking(requests.sweep)
            self._asking(look_after_the_queue)
            connection.close()
            self._done.wait(min(SEEN, settings.EXPLORER_LEASE_SECONDS / 4))

    def _tell(self) -> None:
        now = timezone.now()
        told = {"name": graphs.worker_name(), "stores": self._keys, "graphs": dict(self._told)}
        self._asking(
            lambda: models.Worker.objects.update_or_create(
                id=self._id,
                defaults={**told, "seen_at": now},
                create_defaults={**told, "seen_at": now, "started_at": now},
            )
        )
        connection.close()

    def _asking(self, work: Callable[[], Any]) -> None:
        """Ask the app's database. While it is away, it is told of once."""
        try:
            work()
        except (DatabaseError, OSError):
            connection.close()
            if not self._away:
                logging.getLogger(__name__).exception("The app's database does not answer.")
            self._away = True
        else:
            self._away = False

    def _leave(self) -> None:
        models.Worker.objects.filter(id=self._id).delete()
        connection.close()


def complain(sentence: str) -> None:
    """Say in the terminal what its reader can mend."""
    print(f"checkpoint-explorer: {sentence}", file=sys.stderr, flush=True)


def _by_module(sources: Iterable[GraphSource]) -> Iterable[list[GraphSource]]:
    """Put those together that one process can import."""
    found: dict[tuple[object, ...], list[GraphSource]] = {}
    for each in sources:
        key = (each.where, each.folder, each.paths, each.env_file, *sorted(each.env.items()))
        found.setdefault(key, []).append(each)
    return found.values()


def _where(source: GraphSource) -> str:
    return f"{source.target} in {source.folder}"


def _changed_at(source: GraphSource) -> float:
    """Return when a graph's file was changed; of a module that is not known."""
    try:
        return source.file.stat().st_mtime if source.file else 0.0
    except OSError:
        return 0.0


def work(concurrency: int, *, beside_a_server: bool = False) -> None:
    """Run a worker in this process until it is stopped."""
    Worker(concurrency).run(beside_a_server=beside_a_server)


def look_after_the_queue() -> None:
    """Queue anew what a killed worker has taken and not begun; forget what was delivered or is too old."""
    now = timezone.now()
    requests.give_up(now - PATIENCE, TOO_LATE)
    DBTaskResult.objects.exclude(status="READY").filter(enqueued_at__lt=now - KEPT).delete()
    models.Worker.objects.filter(seen_at__lt=now - KEPT).delete()
    forgotten = models.Replay.objects.filter(state=models.State.QUEUED, asked_at__lt=now - FORGOTTEN)
    waiting = list(forgotten.exclude(graph="").order_by("asked_at")[:1_000])
    if not waiting:
        return
    ready = DBTaskResult.objects.filter(status="READY").values_list("args_kwargs", flat=True)
    delivered = {str(id) for given in ready for id in given.get("args", ())}
    running = models.Replay.objects.filter(state=models.State.RUNNING).values_list("thread_key", flat=True)
    busy = set(running)  # whose end will queue the next one
    for replay in waiting:
        if str(replay.id) not in delivered and replay.thread_key not in busy:
            enqueue(replay)
