"""`checkpoint-explorer copy`: a copy as the terminal shows it."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

from checkpoints.copying import Copied, Progress, acopy_thread
from checkpoints.stores import Location
from checkpoints.stores.location import printable, shown
from explorer.wording import count, size

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

COPY = "Copy a thread from one store to another, exactly as it is. Both may be of either kind."
INTERRUPTED = 130
EVERY = 0.1  # seconds
STEPS = {"read": "Reading", "convert": "Converting", "write": "Writing"}


def add_copy_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("source", metavar="FROM", help="the store that has the thread; it is only read")
    parser.add_argument("target", metavar="TO", help="the store that gets it; a SQLite file may be a new one")
    parser.add_argument("--thread", required=True, metavar="ID", help="the thread")
    parser.add_argument("--as", dest="as_thread", metavar="OTHER_ID", help="its id in the copy")


def copy(options: Namespace) -> int:
    """Copy a thread, and say what was copied. Raises StoreError."""
    source, target = Location.parse(options.source), Location.parse(options.target)
    line = Line()
    try:
        copied = asyncio.run(
            acopy_thread(source, target, options.thread, options.as_thread, progress=line.show)
        )
    except KeyboardInterrupt:
        line.clear()
        print("Stopped: nothing was copied.", file=sys.stderr)
        return INTERRUPTED
    finally:
        line.clear()
    print("\n".join(_summary(copied, options.thread, options.as_thread, source, target)))
    return 0


class Line:
    """The terminal's last line, which tells how far it is. There is none in a file or a pipe."""

    def __init__(self) -> None:
        self._shown = 0.0
        self._terminal = sys.stderr.isatty()

    def show(self, progress: Progress) -> None:
        """Tell it, a few times a second."""
        done, total = progress.done, progress.total
        rows = f"{done.rows:,} of {count(total.rows, 'row')}"
        self.write(f"{STEPS[progress.step]} {rows}, {size(done.bytes)} of {size(total.bytes)}")

    def write(self, text: str) -> None:
        """Put this text into the line, unless another one has been there for a moment only."""
        if not self._terminal or time.monotonic() - self._shown < EVERY:
            return
        self._shown = time.monotonic()
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave the line empty."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _summary(
    copied: Copied, thread_id: str, as_thread: str | None, source: Location, target: Location
) -> Iterator[str]:
    named = "" if as_thread in (None, thread_id) else f" as {as_thread!r}"
    yield f"Copied thread {thread_id!r} from {_place(source)} to {_place(target)}{named}:"
    for table, held in copied.tables.items():
        yield f"  {table:<18} {count(held.rows, 'row')}, {size(held.bytes)}"
    if copied.left:
        yield f"{count(copied.left, 'blob')} that no checkpoint refers to stayed behind."


def _place(location: Location) -> str:
    return printable(shown(location.text))
