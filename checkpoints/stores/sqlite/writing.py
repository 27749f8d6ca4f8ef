"""A SQLite file that is written: only when asked, never created, never migrated, for one transaction."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from checkpoints.errors import ForkRefused, NoRoomForCopy, NotWritable, StoreBusy, StoreError
from checkpoints.sqlite.driver import run, transaction
from checkpoints.stores.sqlite.connection import named
from checkpoints.stores.sqlite.opening import choose, sqlite_uri
from checkpoints.stores.sqlite.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checkpoints.statements import Operation, T
    from checkpoints.stores.location import Location

SETTINGS = ("PRAGMA trusted_schema=OFF",)
WAIT = 5.0  # seconds for the lock of another writer

_NO_ROOM = "Free some, then try again. Nothing was written."


class SqliteWriter:
    """A connection that writes."""

    def __init__(self, conn: sqlite3.Connection, schema: Schema) -> None:
        self.schema = schema
        self._conn = conn

    def run(self, operation: Operation[T]) -> T:
        """Run an operation that prepares one that writes: nothing is locked."""
        return run(self._conn, operation)

    def transact(self, operation: Callable[[], Operation[T]]) -> T:
        """Run an operation in one transaction, which has the file's write lock from its beginning."""
        with transaction(self._conn):
            return run(self._conn, operation())


@contextmanager
def writing(location: Location) -> Iterator[SqliteWriter]:
    """Open the file for writing. Raises StoreError: NotWritable, StoreBusy, and where it cannot be read.

    The tables stay as they are, and the journal mode: an older release of LangGraph may be at work on them.
    """
    with connected(location) as conn:
        yield SqliteWriter(conn, Schema.of(conn, location.name))


@contextmanager
def connected(location: Location) -> Iterator[sqlite3.Connection]:
    """Connect to the file for writing, and turn SQLite's errors into ours. Raises what `writing` does."""
    path = choose(location.path).path
    if reason := refusal(location):
        raise NotWritable(reason)
    with (
        written(location.name, WAIT),
        closing(
            sqlite3.connect(
                sqlite_uri(path, "mode=rw"),
                uri=True,
                timeout=WAIT,
                isolation_level=None,
                check_same_thread=False,
            )
        ) as conn,
    ):
        for setting in SETTINGS:
            conn.execute(setting)
        yield conn


def refusal(location: Location) -> str | None:
    """Say why the file cannot be written, None where nothing is in the way."""
    path = os.path.realpath(location.path)
    if not os.access(path, os.W_OK):
        return f"This user may not write to {location.name}."
    if not os.access(os.path.dirname(path), os.W_OK):
        return f"This user may not write to the folder of {location.name}, where SQLite keeps its log."
    return None


@contextmanager
def written(name: str, wait: float) -> Iterator[None]:
    """Turn SQLite's errors of writing into ours."""
    faults = _faults(name, wait)
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None and isinstance(error, sqlite3.OperationalError):  # the module's own: text is no UTF-8
            raise ForkRefused(f"A row of {name} holds text that is no UTF-8.") from error
        if code is not None and code & 0xFF in faults:
            raise faults[code & 0xFF]() from error
        with named(name):
            raise
    except OSError as error:
        raise NotWritable(f"{name} cannot be created: {error.strerror}.") from None


def _faults(name: str, wait: float) -> dict[int, Callable[[], StoreError]]:
    busy = f"{name} was kept locked by another writer for {wait:.0f} seconds."
    return {
        sqlite3.SQLITE_FULL: partial(NoRoomForCopy, f"{name} has no room left on its disk.", advice=_NO_ROOM),
        sqlite3.SQLITE_IOERR: partial(
            NoRoomForCopy, f"{name} could not be written to its disk.", advice=f"It may be full. {_NO_ROOM}"
        ),
        sqlite3.SQLITE_READONLY: partial(NotWritable, f"{name} cannot be written."),
        sqlite3.SQLITE_CANTOPEN: partial(NotWritable, f"{name} cannot be opened to be written."),
        sqlite3.SQLITE_CONSTRAINT: partial(
            NotWritable,
            f"{name} refused a row.",
            advice="A trigger or a constraint of its owner is in the way.",
        ),
        sqlite3.SQLITE_PERM: partial(NotWritable, f"{name} cannot be written."),
        sqlite3.SQLITE_BUSY: partial(StoreBusy, busy),
    }
