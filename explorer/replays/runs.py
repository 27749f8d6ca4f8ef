"""The process of a run: told what to do on its standard input, heard on its standard output.

It cannot harm the worker: it may crash, hang, or print without end. It lives as long as the worker, as its
standard input ends with that.
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

from explorer.graphs.sources import GraphsRefused
from explorer.replays.processes import command, tell
from explorer.replays.requests import OUTPUT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from explorer.graphs.sources import GraphSource
    from explorer.replays.events import Event

# The graph's code has no business in the app's database.
SECRETS = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE")
LINE = 1_000_000  # characters; a longer one is no event
HELD = 5_000  # events that wait for the next report
ROOM = 0.05  # seconds between two looks whether there is room for more


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

    def hold(self) -> None:
        """Tell the run that it is held still."""
        self._tell("held\n")

    def is_gone(self) -> bool:
        """Tell whether the process has ended; what it has started may hold its output open."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """End the process and what it has started, at once."""
        with suppress(ProcessLookupError, PermissionError):
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
        with suppress(OSError, ValueError):
            if self.process.stdin:
                self.process.stdin.close()

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
        """Return the last event: how the run ended, or what the graph is."""
        return self._result

    def _tell(self, line: str) -> None:
        stdin = self.process.stdin
        with suppress(OSError, ValueError):  # it has ended
            if stdin:
                stdin.write(line.encode())
                stdin.flush()

    def _read_events(self) -> None:
        assert self.process.stdout
        with self.process.stdout as pipe:
            self._hear(pipe)

    def _hear(self, pipe: IO[bytes]) -> None:
        for line in _lines(pipe):
            event = _event(line)
            if event is None:
                continue
            if event["type"] in ("ended", "described"):
                self._result = event
                break
            self._wait_for_room()
            with self._lock:
                self._events.append(event)
        self.ended.set()

    def _wait_for_room(self) -> None:
        """Let a graph that tells more than can be stored wait, rather than keep it all in memory."""
        while len(self._events) >= HELD and self.process.poll() is None:
            time.sleep(ROOM)

    def _read_output(self) -> None:
        assert self.process.stderr
        with self.process.stderr as pipe:
            while read := os.read(pipe.fileno(), 65_536):
                self._note(read)

    def _note(self, read: bytes) -> None:
        text = read[-OUTPUT:].decode(errors="replace")
        with self._lock:
            self._printed.append(text)
            self._length += len(text)
            self._changed = True
            while self._printed and self._length - len(self._printed[0]) >= OUTPUT:
                self._length -= len(self._printed.popleft())


def start(source: GraphSource, todo: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start a process and give it what to do. Raises GraphsRefused and OSError."""
    if not Path(source.folder).is_dir():
        raise GraphsRefused(f"The folder {source.folder} of the graph {source.name!r} is gone.")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in SECRETS and not name.startswith("EXPLORER_")
    }
    environment |= source.environment() | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    try:
        process = _process(source, environment)
    except ValueError as error:
        raise GraphsRefused(f"The env of the graph {source.name!r} cannot be used: {error}.") from None
    tell(process, todo)
    return process


def _process(source: GraphSource, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  this interpreter, and nothing that a request names
        command("explorer.running.__main__"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=source.folder,
        env=environment,
        start_new_session=True,  # Ctrl-C in a terminal is the worker's to pass on
    )


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


def described(*sources: GraphSource) -> dict[str, dict[str, Any]]:
    """Tell of graphs of one module, by name: what their nodes are, or why they cannot be imported."""
    told = _described(sources)
    if "graphs" in told:
        return dict(told["graphs"])
    return {source.name: told for source in sources}


def _described(sources: Sequence[GraphSource]) -> dict[str, Any]:
    limit = settings.EXPLORER_IMPORT_SECONDS
    try:
        run = Run(sources[0], {"describe": [source.to_json() for source in sources]})
    except (GraphsRefused, OSError) as error:
        return {"problem": str(error)}
    with run:
        began = time.monotonic()
        # What it has started may hold its output open when it is gone.
        while not run.ended.wait(ROOM) and run.process.poll() is None:
            if time.monotonic() - began > limit:
                return {"problem": f"Importing it takes longer than {limit} s."}
        run.ended.wait(1)
        if (told := run.result()) is not None:
            return told
        run.finish()
        said = f"Importing it ended the process, with status {run.process.returncode}."
        return {"problem": said, "traceback": run.output() or ""}
