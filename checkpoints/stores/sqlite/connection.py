"""A guarded connection: it reads, for a limited time, and its errors have names."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from operator import methodcaller
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from checkpoints.errors import (
    NotADatabase,
    ReadTimeout,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreUnreadable,
)
from checkpoints.stores.sqlite.opening import Opening, choose
from checkpoints.stores.sqlite.recovery import recovered
from checkpoints.stores.sqlite.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checkpoints.stores.location import Location

T = TypeVar("T")
BUSY_SECONDS = 2.0
READ_SECONDS = 10.0
CACHE_KIB, PASSING_KIB = 65_536, 16_384  # of pages; and where a long read passes most of them but once
DEADLINE_STEPS = 20_000  # virtual machine steps between looks at the clock, well under a millisecond

_SETTINGS = (
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    "PRAGMA mmap_size=0",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA query_only=ON",
    "SELECT 1 FROM json_each('[]'), pragma_table_info('checkpoints')",  # declared now, denied later
)
_TEXT = methodcaller("decode", "utf-8", "replace")  # it is called for each text: no Python function
_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_TOLD = frozenset({"table_info", "freelist_count", "page_size"})
_ERRORS: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_NOTADB: (NotADatabase, "is not a SQLite database"),
    sqlite3.SQLITE_CORRUPT: (StoreDamaged, "is damaged"),
    sqlite3.SQLITE_BUSY: (StoreBusy, "is busy"),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "is busy"),
    sqlite3.SQLITE_PROTOCOL: (StoreBusy, "is busy"),
    sqlite3.SQLITE_READONLY: (StoreBusy, "has an unfinished write"),
    sqlite3.SQLITE_SCHEMA: (StoreBusy, "is changing its tables"),
    sqlite3.SQLITE_INTERRUPT: (ReadTimeout, "was read for more than {seconds:.0f} seconds"),
    sqlite3.SQLITE_CANTOPEN: (StoreUnreadable, "cannot be opened"),
    sqlite3.SQLITE_PERM: (StoreUnreadable, "may not be read"),
    sqlite3.SQLITE_IOERR: (StoreUnreadable, "could not be read from its disk"),
}


class Connected(NamedTuple):
    """A guarded connection, how it was opened and what tables it found."""

    conn: sqlite3.Connection
    opening: Opening
    schema: Schema


def connect(location: Location, seconds: float | None = None) -> Connected:
    """Open a store's file, guarded, to be read for so long. The connection is for one thread at a time."""
    return Connected(*guarded(location, Schema.of, seconds))


def guarded(
    location: Location, look: Callable[[sqlite3.Connection, str], T], seconds: float | None = None
) -> tuple[sqlite3.Connection, Opening, T]:
    """Open a file that need not be a store, look at its tables, then admit nothing but reading."""
    opening = choose(location.path)
    if opening.stranded:
        opening = recovered(opening)
    try:
        return _connect(opening, location.name, look, seconds)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        return _connect(recovered(opening), location.name, look, seconds)


@contextmanager
def named(name: str, seconds: float | None = None) -> Iterator[None]:
    """Turn SQLite's errors into ours, of a read that may take so long.

    Its own sentences may quote the file, so they go no further.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        unknown = StoreDamaged, f"cannot be read ({getattr(error, 'sqlite_errorname', 'unknown error')})"
        kind, sentence = _ERRORS.get(code & 0xFF, unknown)
        told = sentence.format(seconds=READ_SECONDS if seconds is None else seconds)
        raise kind(f"{name} {told}.") from error
    except UnicodeDecodeError as error:  # SQLite quoted a schema that is no UTF-8
        raise StoreDamaged(f"{name} is damaged.") from error


def _connect(
    opening: Opening, name: str, look: Callable[[sqlite3.Connection, str], T], seconds: float | None
) -> tuple[sqlite3.Connection, Opening, T]:
    conn = sqlite3.connect(
        opening.uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _guard(conn, seconds)
        if opening.journal_mode == "wal":
            # All answers of one read see one state. Not so in a rollback file: there readers stop the writer.
            conn.execute("BEGIN")
        found = look(conn, name)
        conn.set_authorizer(_authorize)
    except BaseException:
        conn.close()
        raise
    return conn, opening, found


def _guard(conn: sqlite3.Connection, seconds: float | None) -> None:
    conn.text_factory = _TEXT
    deadline = time.monotonic() + (READ_SECONDS if seconds is None else seconds)
    conn.set_progress_handler(lambda: time.monotonic() > deadline, DEADLINE_STEPS)
    for setting in _SETTINGS:
        conn.execute(setting)
    conn.execute(f"PRAGMA cache_size=-{CACHE_KIB if seconds is None else PASSING_KIB}")


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Let the connection compile nothing but SELECT, and what describes a table or the file."""
    allowed = (
        action in _READING
        or (action == sqlite3.SQLITE_FUNCTION and second != "load_extension")
        or (action == sqlite3.SQLITE_PRAGMA and first in _TOLD and (first == "table_info" or second is None))
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
