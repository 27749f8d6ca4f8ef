"""The worker: it takes replays from the queue, a few at a time, and tells that it is there."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from django_tasks_db.management.commands.db_worker import Worker as QueueWorker
from django_tasks_db.models import DBTaskResult

from explorer import models, stores
from explorer.replays import graphs, requests, supervision
from explorer.replays.queue import enqueue, queue_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

INTERVAL = 0.4  # seconds between two looks at an empty queue
SEEN = 5  # seconds between two signs of life, at most
KEPT = timedelta(days=1)  # how long the queue remembers what it has delivered
# A request that nobody has taken for so long is not run when a worker comes at last: much may have changed.
PATIENCE = timedelta(days=1)
TOO_LATE = "No worker took it within a day. Ask again if it is still wanted."
FORGOTTEN = timedelta(seconds=20)  # after which a queued replay is looked for in the queue
PAUSE = 2  # seconds until a database that was away is asked again


class Worker:
    """The loops of one process: `concurrency` that run replays, one that tells of them."""

    def __init__(self, concurrency: int) -> None:
        self._id = uuid.uuid4()
        self._keys = list(stores.by_key())
        self._sources = graphs.sources()
        self._told: dict[str, dict[str, Any]] = {
            each.name: {"where": f"{each.target} in {each.folder}"} for each in self._sources
        }
        self._loops = [self._queue_worker(number) for number in range(concurrency)]
        self._done = threading.Event()

    def run(self, *, beside_a_server: bool) -> None:
        """Work until a signal comes; beside a server until that is gone, too, and what runs has ended."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN if beside_a_server else self._stop)
        threads = [threading.Thread(target=self._loop, args=[each]) for each in self._loops]
        tells = [threading.Thread(target=each, daemon=True) for each in (self._describe, self._live)]
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
            except DatabaseError:
                logging.getLogger(__name__).exception("The app's database does not answer.")
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

    def _describe(self) -> None:
        """Import each graph once, in a process of its own, so that its nodes or its error can be shown."""
        for each in self._sources:
            self._told[each.name] |= supervision.described(each)
            self._tell()
        connection.close()

    def _live(self) -> None:
        """Tell that this worker is there, and look after what others have left behind."""
        while not self._done.is_set():
            self._tell()
            try:
                requests.sweep()
                look_after_the_queue()
            except DatabaseError:
                logging.getLogger(__name__).exception("The app's database does not answer.")
            connection.close()
            self._done.wait(min(SEEN, settings.EXPLORER_LEASE_SECONDS / 4))

    def _tell(self) -> None:
        now = timezone.now()
        told = {"name": graphs.worker_name(), "stores": self._keys, "graphs": dict(self._told)}
        try:
            models.Worker.objects.update_or_create(
                id=self._id,
                defaults={**told, "seen_at": now},
                create_defaults={**told, "seen_at": now, "started_at": now},
            )
        except DatabaseError:
            logging.getLogger(__name__).exception("The app's database does not answer.")

    def _leave(self) -> None:
        models.Worker.objects.filter(id=self._id).delete()
        connection.close()


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
    for replay in forgotten.exclude(graph="")[:100]:
        with transaction.atomic():
            if not _is_delivered(replay) and not _is_waiting(replay):
                enqueue(replay)


def _is_delivered(replay: models.Replay) -> bool:
    ready: Iterable[DBTaskResult[Any, Any]] = DBTaskResult.objects.filter(
        status="READY", queue_name=queue_name(replay.store, replay.graph)
    )
    return any(str(replay.id) in each.args_kwargs.get("args", ()) for each in ready)


def _is_waiting(replay: models.Replay) -> bool:
    """Tell whether another replay of the thread runs, whose end will queue this one."""
    return models.Replay.objects.filter(thread_key=replay.thread_key, state=models.State.RUNNING).exists()


def concurrency() -> int:
    """Return how many replays one worker runs at a time."""
    return int(settings.EXPLORER_CONCURRENCY)
