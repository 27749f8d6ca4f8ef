"""Carrying a replay out from a worker: claimed, run in a process of its own, reported on, stopped, ended."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import DatabaseError, connection

from explorer import stores
from explorer.graphs.sources import GraphsRefused
from explorer.replays import graphs, requests
from explorer.replays.jobs import job
from explorer.replays.processes import SHUTDOWN
from explorer.replays.requests import Standing
from explorer.replays.runs import Run

if TYPE_CHECKING:
    from explorer.models import Replay

EVERY = 0.1  # seconds between two reports, where there is something to tell
QUIET = 0.5  # and where there is not
DRAINED = 1  # seconds that the last words of a process may take when it has gone
STOPPED = "The worker was stopped while this ran. What is stored stays; ask again to go on."

stopping = threading.Event()


def supervise(id: str) -> None:
    """Claim a replay and run it to its end. Does nothing where it cannot be claimed."""
    replay = requests.claim(id, graphs.worker_name())
    if replay is None:
        return
    ended: dict[str, Any] | None = None
    try:
        ended = _carry_out(replay)
    finally:
        if ended is None:  # our own mistake: it is told of, and nobody waits for the lease
            logging.getLogger(__name__).error("A replay could not be carried out.", exc_info=True)
            requests.end(replay, {"state": "failed", "error": "The worker failed. Its terminal says why."})


def _carry_out(replay: Replay) -> dict[str, Any]:
    try:
        source = graphs.source(replay.graph)
        _, location = stores.by_key()[replay.store]
        todo = job(replay, source, location)
        run = Run(source, todo)
    except GraphsRefused as error:
        return _end(replay, {"state": "failed", "error": str(error)})
    except (KeyError, OSError) as error:
        said = f"This worker cannot run it: {type(error).__name__}."
        return _end(replay, {"state": "failed", "error": said})
    with run:
        return _watch(replay, run)


def _watch(replay: Replay, run: Run) -> dict[str, Any]:
    """Report on a run until it has ended, and end it when it is asked to, or has to."""
    deadline = time.monotonic() + replay.seconds_limit
    stop_at: float | None = None
    why: dict[str, Any] = {"state": "cancelled"}
    reported = 0.0
    while not run.ended.wait(EVERY):
        if not run.has_news() and time.monotonic() - reported < QUIET:
            continue
        standing, reported = _reported(replay, run), time.monotonic()
        if standing.held and run.is_gone() and not run.ended.wait(DRAINED):
            break
        if not standing.held:
            run.kill()
            return {"state": "lost"}
        now = time.monotonic()
        if stop_at is None and (standing.stop or now > deadline or stopping.is_set()):
            stop_at = now + settings.EXPLORER_GRACE_SECONDS
            why = _why(replay, stop=standing.stop, late=now > deadline)
            run.stop()
        if stopping.is_set() and stop_at is not None:
            stop_at = min(stop_at, now + SHUTDOWN)
        if stop_at is not None and now > stop_at:
            run.kill()
            break
    run.finish()
    ended = run.result() or {}
    # What the graph has come to by itself counts, also where it was asked to stop meanwhile.
    if stop_at is not None and ended.get("state") not in ("succeeded", "interrupted"):
        ended = why
    return _end(replay, ended or _crashed(run), run)


def _reported(replay: Replay, run: Run) -> Standing:
    """Report what has happened. While the app's database is away, the run goes on until its lease ends."""
    told, output = run.taken(), run.output()
    try:
        standing = requests.report(replay, told, output)
    except DatabaseError:
        connection.close()
        run.give_back(told, output)
        return Standing(held=time.monotonic() < run.lease_until)
    run.hold()
    run.lease_until = time.monotonic() + settings.EXPLORER_LEASE_SECONDS
    return standing


def _why(replay: Replay, *, stop: bool, late: bool) -> dict[str, Any]:
    if stop:
        return {"state": "cancelled"}
    if late:
        said = f"The time limit of {replay.seconds_limit} s was reached. What is stored stays."
        return {"state": "failed", "error": said}
    return {"state": "cancelled", "error": STOPPED}


def _crashed(run: Run) -> dict[str, Any]:
    """Tell of a process that has gone without a word."""
    status = run.process.returncode
    how = f"by signal {_signal(-status)}" if status < 0 else f"with status {status}"
    said = f"The graph's process ended {how}, without a result. What it printed last may say why."
    return {"state": "failed", "error": said}


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


def _end(replay: Replay, ended: dict[str, Any], run: Run | None = None) -> dict[str, Any]:
    told, output = (run.taken(), run.output()) if run else ([], None)
    patience = time.monotonic() + settings.EXPLORER_LEASE_SECONDS
    while True:
        try:
            requests.end(replay, ended, told, output)
            return ended
        except DatabaseError:
            if time.monotonic() > patience:
                raise
            connection.close()
            time.sleep(1)
