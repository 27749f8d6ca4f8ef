"""How much one transaction deletes, so that it keeps nobody waiting."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOCKED: Final = 0.008  # seconds that a transaction is to take; 0.02 is the promise
# So little is a millisecond's work. Where that takes longer it waits for the disk, as a smaller one would.
FIRST, LEAST, MOST = 256, 256, 20_000
PAGE = 4096  # bytes that weigh as much as a row: about a page of the file
LEAST_REST = 0.002


class Weighed(Protocol):
    """Something that is deleted whole. Its weight is its rows and the pages that they fill."""

    @property
    def weight(self) -> int: ...


T = TypeVar("T", bound=Weighed)


class Pace:
    """Sizes transactions by how long the last ones took, and leaves time for others between them."""

    def __init__(self, locked: float = LOCKED) -> None:
        self._locked = locked
        self.weight = FIRST

    def batches(self, parts: Iterable[T]) -> Iterator[list[T]]:
        """Yield the parts in order, as many at once as may be deleted at once, and at least one."""
        batch: list[T] = []
        held = 0
        for part in parts:
            if batch and held + part.weight > self.weight:
                yield batch
                batch, held = [], 0
            batch.append(part)
            held += part.weight
        if batch:
            yield batch

    def took(self, weight: int, seconds: float) -> None:
        """Learn from a transaction, and rest for as long as it kept others out."""
        factor = min(2.0, max(0.25, self._locked / max(seconds, 1e-6)))
        if factor < 1 or weight * 2 > self.weight:  # one that was small for want of rows tells little
            self.weight = int(min(MOST, max(LEAST, self.weight * factor)))
        time.sleep(max(LEAST_REST, seconds))
