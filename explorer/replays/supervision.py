"""Running a replay in a process of its own, from a worker: told what to do, listened to, stopped, ended.

The process cannot harm the worker: it may crash, hang, or print without end. It lives as long as the worker,
as its standard input ends with that.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import DatabaseError, connection

from explorer import stores
from explorer.graphs.sources import GraphsRefused
from explorer.replays import graphs, requests
from explorer.replays.jobs import NotRunnable, job
from explorer.replays.processes import SHUTDOWN, command
from explorer.replays.requests import Standing

if TYPE_CHECKING:
    from typing import IO

    from explorer.graphs.sources import GraphSource
    from explorer.models import Replay
    from explorer.replays.events import Event

# The graph's code has no business in the app's database.
SECRETS = ("DATABASE_URL", "EXPLORER_SECRET_KEY", "EXPLORER_TOKEN", "DJANGO_SETTINGS_MODULE")
EVERY = 0.1  # seconds between two reports, where there is something to tell
QUIET = 0.5  # and where there is not
LINE = 1_000_000  # characters; a longer one is no event
HELD = 5_000  # events that wait for the next report
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
        if ended is None:  # our own mistake: it is logged, and nobody waits for the lease
            requests.end(replay, {"state": "failed", "error": "The worker failed. Its terminal says why."})


def _carry_out(replay: Replay) -> dict[str, Any]:
    try:
        source = graphs.source(replay.graph)
        _, location = stores.by_key()[replay.store]
        todo = job(replay, source, location)
        run = Run(source, todo)
    except (NotRunnable, GraphsRefused) as error:
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
    how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    said = f"The graph's process ended {how}, without a result. What it printed last may say why."
    return {"state": "failed", "error": said}


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


class Run:
    """A process that runs a job. `ended` is set when it has said its last word."""

    def __init__(self, source: GraphSource, todo: dict[str, Any]) -> None:
        self.process = start(source, todo)
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._result: Event | None = None
        self._printed: deque[str] = deque()
        self._length = 0
        self._changed = False
        self.lease_until = time.monotonic() + settings.EXPLORER_LEASE_SECONDS
        self._readers = [
            threading.Thread(target=read, daemon=True) for read in (self._read_events, self._read_output)
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.finish()

    def stop(self) -> None:
        """Ask the run to end before its next superstep."""
        self._tell("stop\n")

    def kill(self) -> None:
        """End the process and what it has started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def finish(self) -> None:
        """Wait for the process to be gone: it has little left to do."""
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        # What it started may hold its output open.
        for reader in self._readers:
            reader.join(1)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with suppress(OSError, ValueError):
                if pipe and not any(reader.is_alive() for reader in self._readers):
                    pipe.close()

    def has_news(self) -> bool:
        """Tell whether anything has happened since it was last taken."""
        return bool(self._events) or self._changed

    def taken(self) -> list[Event]:
        """Return the events since the last call."""
        with self._lock:
            taken, self._events = list(self._events), deque()
        return taken

    def output(self) -> str | None:
        """Return the last that was printed; None where it is as it was."""
        with self._lock:
            changed, self._changed = self._changed, False
            return "".join(self._printed) if changed else None

    def give_back(self, events: list[Event], output: str | None) -> None:
        """Keep what could not be reported for the next time."""
        with self._lock:
            self._events.extendleft(reversed(events))
            self._changed = self._changed or output is not None

    def result(self) -> Event | None:
        """Return the event that says how the run ended."""
        return self._result

    def _tell(self, line: str) -> None:
        stdin = self.process.stdin
        with suppress(OSError, ValueError):  # it has ended
            if stdin:
                stdin.write(line.encode())
                stdin.flush()

    def _read_events(self) -> None:
        assert self.process.stdout
        for line in _lines(self.process.stdout):
            event = _event(line)
            if event is None:
                continue
            if event["type"] == "ended":
                self._result = event
                break
            self._wait_for_room()
            with self._lock:
                self._events.append(event)
        self.ended.set()

    def _wait_for_room(self) -> None:
        """Let a graph that tells more than can be stored wait, rather than keep it all in memory."""
        while len(self._events) >= HELD and self.process.poll() is None:
            time.sleep(EVERY / 4)

    def _read_output(self) -> None:
        assert self.process.stderr
        while read := os.read(self.process.stderr.fileno(), 65_536):
            text = read[-requests.OUTPUT :].decode(errors="replace")
            with self._lock:
                self._printed.append(text)
                self._length += len(text)
                self._changed = True
                while self._printed and self._length - len(self._printed[0]) >= requests.OUTPUT:
                    self._length -= len(self._printed.popleft())


def start(source: GraphSource, todo: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start a process and give it what to do. Raises GraphsRefused and OSError."""
    if not Path(source.folder).is_dir():
        raise GraphsRefused(f"The folder {source.folder} of the graph {source.name!r} is gone.")
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    environment |= source.environment() | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(  # noqa: S603  this interpreter, and nothing that a request names
        command("explorer.running.__main__"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=source.folder,
        env=environment,
        start_new_session=True,  # Ctrl-C in a terminal is the worker's to pass on
    )
    assert process.stdin
    with suppress(OSError):  # it has ended already, and its output says why
        process.stdin.write(json.dumps(todo).encode() + b"\n")
        process.stdin.flush()
    return process


def _lines(pipe: IO[bytes]) -> Any:
    """Yield the lines of a pipe. One that never ends is not kept in memory."""
    while line := pipe.readline(LINE):
        if line.endswith(b"\n"):
            yield line


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None


def described(source: GraphSource) -> dict[str, Any]:
    """Tell of a graph: what its nodes are, or why it cannot be imported."""
    limit = settings.EXPLORER_IMPORT_SECONDS
    try:
        process = start(source, {"describe": source.to_json()})
    except (GraphsRefused, OSError) as error:
        return {"problem": str(error)}
    with process:
        try:
            out, said = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return {"problem": f"Importing it takes longer than {limit} s."}
    try:
        return dict(json.loads(out))
    except ValueError:
        return {
            "problem": f"Importing it ended the process, with status {process.returncode}.",
            "traceback": said[-4_000:].decode(errors="replace"),
        }
