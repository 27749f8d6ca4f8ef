"""The process of one run: a job comes in on the first line of standard input, events go out, a line each."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

PARENT_GONE = 3
HELD = 0.8  # of a lease; the worker's clock began before this one's
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> int:
    """Do the job. Whoever gave it is gone when standard input ends: then so is this process."""
    out, control = _own_output(), _own_input()
    _end_with_the_worker()
    given = json.loads(control.readline())

    def report(event: dict[str, Any]) -> None:
        out.write(json.dumps(event, default=repr) + "\n")  # in one write: other threads report, too
        out.flush()

    if "describe" in given:
        _listen(control, lambda: None, 0)
        report(
            {"type": "described", "graphs": {each["name"]: _described(each) for each in given["describe"]}}
        )
        os._exit(0)
    from explorer.running.job import Job
    from explorer.running.run import Stop, failure, run

    stop = Stop()
    _listen(control, stop.ask, given.get("lease_seconds") or 0)

    async def carry_out() -> None:
        # Told before the event loop waits for threads that the graph has left behind.
        report(await run(Job.from_json(given), report, stop))

    try:
        asyncio.run(carry_out())
    except SystemExit as error:  # asyncio lets it through, whoever raises it
        report(failure(error))
    sys.stderr.flush()
    # Other threads of the graph would keep the process.
    os._exit(0)


def _own_input() -> TextIO:
    """Keep standard input to the worker; whoever reads it in the graph finds its end at once."""
    control = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return control


def _own_output() -> TextIO:
    """Keep standard output to the events; what a graph prints joins its errors."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    return out


def _end_with_the_worker() -> None:
    """Let the system end this process with its worker, also while it holds the interpreter's lock.

    Where that cannot be, it ends when its standard input does.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the worker's own is ignored beside a server
    if sys.platform == "linux":  # with the thread that started it: those of a worker outlive their runs
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _listen(control: TextIO, stop: Callable[[], None], lease: float) -> None:
    """Hear the worker: to stop, and that it holds the run still. Without that for a lease, the run ends.

    Another worker may have the thread by then.
    """
    heard = time.monotonic()

    def listen() -> None:
        nonlocal heard
        for line in control:
            heard = time.monotonic()
            if line.strip() == "stop":
                stop()
        _leave()

    def watch() -> None:
        while time.monotonic() - heard < lease * HELD:
            time.sleep(lease / 50)
        _leave()

    for watching in (listen, *([watch] if lease else [])):
        threading.Thread(target=watching, daemon=True).start()


def _leave() -> None:
    """End this process, and what it has started with it."""
    with suppress(OSError):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(PARENT_GONE)


def _described(source: dict[str, Any]) -> dict[str, Any]:
    from explorer.graphs.sources import GraphSource
    from explorer.running.describing import described, problem

    try:
        return asyncio.run(described(GraphSource.from_json(source)))
    except SystemExit as error:
        return problem(error)


if __name__ == "__main__":
    sys.exit(main())
