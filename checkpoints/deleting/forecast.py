"""What pruning threads would delete: read, and nothing locked or written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from checkpoints.bundling import source_of
from checkpoints.bundling.reading import looked
from checkpoints.copying.progress import Stop
from checkpoints.errors import PruneRefused
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from checkpoints.bundling.reading import Look
    from checkpoints.copying.tables import Kind
    from checkpoints.statements import Operation
    from checkpoints.stores.location import Location
    from checkpoints.stores.selection import Held

THREADS = 20  # that are looked at in one moment


@dataclass(slots=True)
class Forecast:
    """The rows that would go, by table, and their bytes, of so many threads; `refused` ones would stay."""

    rows: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    threads: int = 0
    refused: dict[str, PruneRefused] = field(default_factory=dict)

    def add(self, held: Mapping[str, Size], staying: Mapping[str, Size]) -> None:
        """Add a thread. An agent may have written between the two looks."""
        rows = {table: max(0, size.rows - staying[table].rows) for table, size in held.items()}
        self.rows.update(rows)
        self.bytes += sum(max(0, size.bytes - staying[table].bytes) for table, size in held.items())
        self.threads += sum(rows.values()) > 0


def forecast(
    location: Location,
    threads: Sequence[Held],
    told: Callable[[int], None] = lambda done: None,
) -> Forecast:
    """Tell what keeping only the newest checkpoints of these threads would delete. Raises StoreError.

    `told` gets how many threads were looked at.
    """
    found = Forecast()
    source = source_of(location)
    for start in range(0, len(threads), THREADS):
        some = threads[start : start + THREADS]
        sizes = looked(source, Stop(), partial(_staying, source.kind, some))
        for held, staying in zip(some, sizes, strict=True):
            if isinstance(staying, PruneRefused):
                found.refused[held.thread_id] = staying
            else:
                found.add(_tables(source.kind, held), staying)
        told(start + len(some))
    return found


def _staying(kind: Kind, threads: Sequence[Held], look: Look) -> list[Mapping[str, Size] | PruneRefused]:
    """Return what stays of each thread, by table, or why nothing goes."""
    return [_staying_of(kind, held.thread_id, look) for held in threads]


def _staying_of(kind: Kind, thread_id: str, look: Look) -> Mapping[str, Size] | PruneRefused:
    try:
        sizes: Mapping[str, Size] = look.run(_measured(kind, thread_id, writes=len(look.tables) > 1))
    except PruneRefused as error:
        return error
    return sizes


def _measured(kind: Kind, thread_id: str, *, writes: bool) -> Operation[Mapping[str, Size]]:
    if kind == "sqlite":
        from checkpoints.stores.sqlite import pruning

        doomed = yield from pruning.going(thread_id, writes=writes)
        return (yield from pruning.staying(doomed))
    from checkpoints.stores.postgres import pruning as of_postgres  # it needs psycopg

    doomed = yield from of_postgres.going(thread_id)
    return (yield from of_postgres.staying(doomed))


def _tables(kind: Kind, held: Held) -> dict[str, Size]:
    sizes = {"checkpoints": Size(held.checkpoints, held.checkpoint_bytes)}
    if kind == "sqlite":
        return {**sizes, "writes": Size(held.writes, held.write_bytes)}
    return {
        **sizes,
        "checkpoint_writes": Size(held.writes, held.write_bytes),
        "checkpoint_blobs": Size(held.blobs, held.blob_bytes),
    }
