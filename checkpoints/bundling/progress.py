"""How far an export or an import is, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from checkpoints.bundling.format import Header
    from checkpoints.copying.progress import Stop
    from checkpoints.errors import StoreError

Step: TypeAlias = Literal["export", "check", "import"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How many threads one step has behind it, with their rows and bytes; `of` so many, None if unknown."""

    step: Step
    threads: int
    of: int | None
    done: Size


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle that was written: its threads, the rows and bytes of content by table.

    `bytes` and `digest` (SHA-256, in hexadecimal) are the file's.
    """

    threads: int
    tables: Mapping[str, Size]
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What a store has got, by its tables. `refused` are the threads that it has not, each with the reason.

    `left` blobs, which no checkpoint refers to, a SQLite file has no place for.
    """

    threads: int
    tables: Mapping[str, Size]
    refused: Mapping[str, StoreError]
    left: int = 0


@dataclass(frozen=True, slots=True)
class Put:
    """What one transaction wrote, by table, and the threads that were there: they stay as they are."""

    tables: Mapping[str, Size]
    there: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """What a bundle says of itself."""

    header: Header
    threads: int
    bytes: int


class Tally:
    """Counts one step, and tells whoever asked for it."""

    def __init__(self, tell: Callable[[Progress], None] | None, stop: Stop) -> None:
        self.stop = stop
        self._tell = tell
        self._progress = Progress("export", 0, None, Size(0, 0))

    def begin(self, step: Step, of: int | None) -> None:
        """Begin a step over so many threads."""
        self._progress = Progress(step, 0, of, Size(0, 0))
        self.advance(0, Size(0, 0))

    def advance(self, threads: int, size: Size) -> None:
        """Count what is done. Raises Stopped."""
        self.stop.check()
        before = self._progress
        done = Size(before.done.rows + size.rows, before.done.bytes + size.bytes)
        self._progress = Progress(before.step, before.threads + threads, before.of, done)
        if self._tell:
            self._tell(self._progress)


def added(sizes: Iterable[Mapping[str, Size]], tables: Iterable[str]) -> dict[str, Size]:
    """Add up sizes by table."""
    total = dict.fromkeys(tables, Size(0, 0))
    for each in sizes:
        for table, size in each.items():
            total[table] = Size(total[table].rows + size.rows, total[table].bytes + size.bytes)
    return total


def total(sizes: Iterable[Size]) -> Size:
    """Add up sizes."""
    held = list(sizes)
    return Size(sum(size.rows for size in held), sum(size.bytes for size in held))
