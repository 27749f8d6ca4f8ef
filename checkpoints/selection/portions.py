"""Many threads, a few at a time, on as many connections as a kind of store gains from."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from checkpoints.stores.reading import read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from typing import Any

    from checkpoints.stores.location import Location
    from checkpoints.stores.selection import ThreadKey
    from checkpoints.stores.store import Store

T = TypeVar("T")


class Pace(NamedTuple):
    """How many connections read side by side, and how many threads each looks at at once: first, at most."""

    connections: int
    first: int
    most: int


# SQLite lets go of the interpreter while it reads; a file without a WAL is locked for the time of a portion.
# A server has workers of its own, and reads a table once for all of a portion.
PACES = {"sqlite": Pace(2, 20, 1_000), "postgres": Pace(1, 100_000, 100_000)}
FEW = 200  # threads that are not worth another connection
PORTION_SECONDS = 0.05  # of which one statement takes a part; in a file without a WAL it holds a lock


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of the threads that may be meant were looked at."""

    done: int
    total: int


async def in_parts(
    location: Location,
    keys: Sequence[ThreadKey],
    work: Callable[[Store, Sequence[ThreadKey]], Awaitable[list[T]]],
    seconds: float,
    progress: Callable[[Progress], None] | None,
) -> list[T]:
    """Do the work on all of these threads, portion by portion, and return what came of it in their order."""
    pace = PACES[location.kind]
    size = max(FEW, -(-len(keys) // pace.connections))
    done: dict[int, int] = {}

    def tell(part: int, count: int) -> None:
        done[part] = count
        if progress:
            progress(Progress(sum(done.values()), len(keys)))

    parts = [keys[at : at + size] for at in range(0, len(keys), size)]
    reads = [
        read(location, partial(_portions, part, work, pace, partial(tell, number)), seconds=seconds)
        for number, part in enumerate(parts)
    ]
    return [item for found in await _together(reads) for item in found]


async def _portions(
    keys: Sequence[ThreadKey],
    work: Callable[[Store, Sequence[ThreadKey]], Awaitable[list[T]]],
    pace: Pace,
    tell: Callable[[int], None],
    store: Store,
) -> list[T]:
    found: list[T] = []
    at, size = 0, pace.first
    while at < len(keys):
        began = time.monotonic()
        found += await work(store, keys[at : at + size])
        at += size
        tell(min(at, len(keys)))
        size = size * 2 if time.monotonic() - began < PORTION_SECONDS else size // 2
        size = max(pace.first, min(size, pace.most))
    return found


async def _together(reads: Sequence[Coroutine[Any, Any, list[T]]]) -> list[list[T]]:
    """Await all of them; where one fails, or this is cancelled, none goes on."""
    tasks = [asyncio.ensure_future(each) for each in reads]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks) if tasks else None
