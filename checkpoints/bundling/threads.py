"""The rows of many threads in one SQLite database, in tables of one kind."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from checkpoints.bundling.format import ROWS, named, packed
from checkpoints.bundling.progress import total
from checkpoints.copying.spool import content
from checkpoints.copying.tables import TABLES, Kind, Table
from checkpoints.errors import CopyRefused, NoRoomForCopy
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from checkpoints.statements import Row

_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_INSERT = "INSERT INTO {name} (thread_id, {columns}) VALUES ({marks})"
_SELECT = "SELECT thread_id, {columns} FROM {name} WHERE thread_id = ? ORDER BY {key}"
_COUNT = "SELECT count(*) FROM {name}"


class Sum(NamedTuple):
    """The rows and the bytes of content of one thread by table, and the digest of them all."""

    tables: Mapping[str, Size]
    digest: str

    @property
    def size(self) -> Size:
        return total(self.tables.values())


class Threads:
    """Rows of threads, each after its thread's id."""

    def __init__(self, conn: sqlite3.Connection, kind: Kind) -> None:
        self.conn = conn
        self.kind = kind

    @property
    def tables(self) -> tuple[Table, ...]:
        return TABLES[self.kind]

    def create(self) -> None:
        """Make the tables, which are not there yet."""
        with writing():
            for sql in ROWS[self.kind]:
                self.conn.execute(sql)

    def add(self, table: Table, rows: Iterable[Row]) -> None:
        """Add rows. Raises NoRoomForCopy, and CopyRefused for a key met twice."""
        with writing():
            self.conn.executemany(self._sql(_INSERT, table), rows)

    def rows(self, table: Table, thread_ids: Sequence[str]) -> Iterator[Row]:
        """Return the rows of some threads, one at a time, in the order of their keys."""
        sql = self._sql(_SELECT, table)
        for thread_id in thread_ids:
            yield from self.conn.execute(sql, (thread_id,))

    def count(self, table: Table) -> int:
        """Return how many rows a table has."""
        [rows] = self.conn.execute(self._sql(_COUNT, table)).fetchone()
        return int(rows)

    def sum(self, thread_id: str) -> Sum:
        """Add up all rows of a thread."""
        digest = hashlib.sha256()
        sizes = {}
        for table in self.tables:
            digest.update(packed((table.name,)))
            rows = size = 0
            for row in self.rows(table, [thread_id]):
                digest.update(packed(row))
                rows, size = rows + 1, size + content(table, row[1:])
            sizes[table.name] = Size(rows, size)
        return Sum(sizes, digest.hexdigest())

    def clear(self) -> None:
        """Delete all rows."""
        for table in self.tables:
            self.conn.execute(f"DELETE FROM {named(self.kind, table)}")

    def _sql(self, template: str, table: Table) -> str:
        return template.format(
            name=named(self.kind, table),
            columns=", ".join(table.columns),
            key=", ".join(table.key),
            marks=", ".join("?" * (len(table.columns) + 1)),
        )


def counted(table: Table, rows: Iterable[Row], sizes: dict[str, Size]) -> Iterator[Row]:
    """Return the rows, and add up what went by."""
    number = size = 0
    for row in rows:
        yield row
        number, size = number + 1, size + content(table, row[1:])
    sizes[table.name] = Size(number, size)


@contextmanager
def writing() -> Iterator[None]:
    """Turn the errors of a database that is our own into ours."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise CopyRefused("Two rows of a thread have the same key, or one lacks a part of it.") from None
    except (sqlite3.DataError, UnicodeEncodeError):
        raise CopyRefused("A thread has a row that no file can hold.") from None
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _NO_ROOM:
            raise
        raise NoRoomForCopy(
            "There is no room left for the bundle.", advice="Free some, then try again."
        ) from None
