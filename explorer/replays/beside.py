"""A worker beside a server: started with it, started again when it has died, ended with it."""

from __future__ import annotations

import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from django.conf import settings

from explorer.replays.processes import SHUTDOWN, command, tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The settings that a worker has of the server that it stands beside.
CONFIGURATION = ("EXPLORER_STORES", "EXPLORER_GRAPHS_FILE", "EXPLORER_GRAPHS")
PAUSE = 2  # seconds until a worker that has died is started again


@contextmanager
def worker() -> Iterator[None]:
    """Keep a worker running for as long as the block does."""
    beside = Beside()
    thread = threading.Thread(target=beside.keep, name="worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        beside.end()
        thread.join(SHUTDOWN + 4)


class Beside:
    """The process of a worker, whichever it is just now."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def keep(self) -> None:
        """Start a worker, and another whenever it has died, until the end."""
        while not self._ending.is_set():
            with self._lock, suppress(OSError):  # no memory for another process, now
                self._process = None
                self._process = None if self._ending.is_set() else _started()
            if self._process:
                self._process.wait()
                with suppress(OSError):
                    if self._process.stdin:
                        self._process.stdin.close()
            self._ending.wait(PAUSE)

    def end(self) -> None:
        """Ask the worker to end, and wait for what it runs to be stopped."""
        with self._lock:
            self._ending.set()
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(SHUTDOWN + 3)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                self._process.kill()


def take(configuration: Mapping[str, object]) -> None:
    """Configure this process as the server is that it stands beside."""
    for name in CONFIGURATION:
        setattr(settings, name, configuration[name])


def _started() -> subprocess.Popen[bytes]:
    """Start a worker, configured as this process is."""
    process = subprocess.Popen(  # noqa: S603  this interpreter, with constant arguments
        command("explorer.__main__", "worker", "--beside-a-server"),
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is the server's, which passes it on
    )
    tell(process, {name: getattr(settings, name) for name in CONFIGURATION})
    return process
