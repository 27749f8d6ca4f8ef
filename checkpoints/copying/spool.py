"""Where a thread waits between its stores: tables in a temporary database that no other process can see.

So the source is read in one go, whatever the target does; a thread that cannot be copied is refused before
the target is written; and the target is locked no longer than one INSERT … SELECT takes.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from checkpoints.copying.tables import TABLES, Kind, Table
from checkpoints.errors import CopyRefused, NoRoomForCopy
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from checkpoints.statements import Row

WAIT = 0.2  # seconds for the lock of a target that is attached, until the copy looks whether it shall stop
CACHE = 16_384  # KB; the rest is in a file that is deleted as soon as it is open

_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_CREATE = "CREATE TABLE {name} ({columns}, PRIMARY KEY ({key}))"  # untyped: values stay as they are
_INSERT = "INSERT INTO {name} ({columns}) VALUES ({marks})"
_SELECT = "SELECT {columns} FROM {name} ORDER BY rowid"
_SIZE = "SELECT count(*), ifnull(sum({size}), 0) FROM {name}"


class Spool:
    """The rows of one thread in the tables of one kind of database, without the thread's id."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        # The empty name is a database on disk, which its connection alone has.
        self.conn = sqlite3.connect("", timeout=WAIT, isolation_level=None, uri=True, check_same_thread=False)
        self.conn.execute(f"PRAGMA cache_size=-{CACHE}")
        self.conn.execute("PRAGMA journal_mode=MEMORY")
        for table in self.tables:
            self.conn.execute(_sql(_CREATE, table))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.conn.close()

    @property
    def tables(self) -> tuple[Table, ...]:
        return TABLES[self.kind]

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Add rows in this block. When an error leaves it, they are gone again."""
        with _named():
            self.conn.execute("BEGIN")
        try:
            yield
            with _named():
                self.conn.execute("COMMIT")
        except BaseException:
            if self.conn.in_transaction:
                self.conn.execute("ROLLBACK")
            raise

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        """Add rows, to be read in this order. Raises NoRoomForCopy, and CopyRefused for a key met twice."""
        with _named():
            self.conn.executemany(_sql(_INSERT, table), rows)

    def rows(self, table: Table) -> Iterator[Row]:
        """Return the rows of a table, one at a time."""
        return self.conn.execute(_sql(_SELECT, table))

    def size(self, table: Table) -> Size:
        """Return how many rows a table has, and the bytes of their content."""
        return Size(*self.conn.execute(_sql(_SIZE, table)).fetchone())

    @property
    def total(self) -> Size:
        """The rows and bytes of all tables."""
        sizes = [self.size(table) for table in self.tables]
        return Size(sum(size.rows for size in sizes), sum(size.bytes for size in sizes))


def content(table: Table, row: Row) -> int:
    """Return how many bytes of content a row has."""
    held = (row[table.columns.index(column)] for column in table.content)
    return sum(len(value) for value in held if isinstance(value, bytes | str))


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise CopyRefused("Two rows of the thread have the same key.") from None
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NO_ROOM:
            raise
        raise NoRoomForCopy(
            "The temporary folder has no room for the thread.",
            advice="Free space in it, or name another one with SQLITE_TMPDIR.",
        ) from None


def _sql(template: str, table: Table) -> str:
    return template.format(
        name=table.name,
        columns=", ".join(table.columns),
        key=", ".join(table.key),
        marks=", ".join("?" * len(table.columns)),
        size=" + ".join(f"ifnull(length(CAST({column} AS BLOB)), 0)" for column in table.content),
    )
