"""How far a copy is, what it came to, and how it is stopped from another thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Step: TypeAlias = Literal["read", "convert", "write"]


@dataclass(frozen=True, slots=True)
class Progress:
    """The rows and bytes that one step of a copy has behind it, and those that it has in all."""

    step: Step
    done: Size
    total: Size


@dataclass(frozen=True, slots=True)
class Copied:
    """What the target has got, by table. `left` blobs, which no checkpoint refers to, a SQLite file has no
    place for."""

    tables: Mapping[str, Size]
    left: int = 0


class Stopped(Exception):
    """The copy was asked to stop."""


class Stop:
    """Asks a copy on another thread to stop, also where it waits for a database."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._at_work: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def ask(self) -> None:
        """Ask it, and interrupt the statements that are running."""
        self._asked.set()
        with self._lock:
            for interrupt in self._at_work:
                interrupt()

    def check(self) -> None:
        """Raise Stopped when that was asked."""
        if self._asked.is_set():
            raise Stopped

    @contextmanager
    def interrupting(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Interrupt what this block waits for."""
        with self._lock:
            self._at_work.append(interrupt)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._at_work.remove(interrupt)


class Meter:
    """Counts one step of a copy, and tells whoever asked for it."""

    def __init__(self, tell: Callable[[Progress], None] | None, stop: Stop) -> None:
        self.stop = stop
        self._tell = tell
        self._step: Step = "read"
        self._done = self._total = Size(0, 0)

    def begin(self, step: Step, total: Size) -> None:
        """Begin a step that has so much before it."""
        self._step, self._total, self._done = step, total, Size(0, 0)
        self.advance(0, 0)

    def advance(self, rows: int, size: int) -> None:
        """Count rows that are done. Raises Stopped."""
        self.stop.check()
        self._done = Size(self._done.rows + rows, self._done.bytes + size)
        if self._tell:
            self._tell(Progress(self._step, self._done, self._total))
