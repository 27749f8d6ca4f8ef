"""Writing to a store, whatever kind it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from checkpoints.stores.sqlite.writing import writing as writing_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checkpoints.statements import Operation, T
    from checkpoints.stores.location import Location


class Writer(Protocol):
    """A store that is open for writing. `schema` is what differs between its databases."""

    schema: Any

    def run(self, operation: Operation[T]) -> T:
        """Run an operation that prepares one that writes: nothing is locked."""

    def transact(self, operation: Callable[[], Operation[T]]) -> T:
        """Run an operation in one transaction, which may be begun anew: all of it is done or nothing."""


@contextmanager
def writing(location: Location) -> Iterator[Writer]:
    """Open a store for writing, for code without an event loop. Raises a StoreError: NotWritable, StoreBusy.

    Nothing is created and nothing migrated.
    """
    if location.kind == "sqlite":
        with writing_sqlite(location) as writer:
            yield writer
        return
    from checkpoints.stores.postgres.writing import writing as writing_postgres  # it needs psycopg

    with writing_postgres(location) as found:
        yield found
