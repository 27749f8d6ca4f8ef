"""The process of one run: a job comes in on the first line of standard input, events go out, a line each."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

PARENT_GONE = 3


def main() -> int:
    """Do the job. Whoever gave it is gone when standard input ends: then so is this process."""
    out = _own_output()
    given = json.loads(sys.stdin.readline())

    def report(event: dict[str, Any]) -> None:
        out.write(json.dumps(event, default=repr) + "\n")  # in one write: other threads report, too
        out.flush()

    if "describe" in given:
        report(_described(given["describe"]))
        return 0
    from explorer.running.job import Job
    from explorer.running.run import Stop, failure, run

    stop = Stop()
    _listen(stop.ask)
    try:
        ended = asyncio.run(run(Job.from_json(given), report, stop))
    except SystemExit as error:  # asyncio lets it through, whoever raises it
        ended = failure(error)
    report(ended)
    # Threads that a graph has left running would keep the process.
    sys.stderr.flush()
    os._exit(0)


def _own_output() -> TextIO:
    """Keep standard output to the events; what a graph prints joins its errors."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    return out


def _listen(stop: Callable[[], None]) -> None:
    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                stop()
        os._exit(PARENT_GONE)

    threading.Thread(target=listen, name="listen", daemon=True).start()


def _described(source: dict[str, Any]) -> dict[str, Any]:
    from explorer.graphs.sources import GraphSource
    from explorer.running.describing import described, problem

    try:
        return asyncio.run(described(GraphSource.from_json(source)))
    except SystemExit as error:
        return problem(error)


if __name__ == "__main__":
    sys.exit(main())
