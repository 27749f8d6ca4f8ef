"""SQLite files as the source and as the target of a copy."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from checkpoints.copying.pages import Dialect, page, total
from checkpoints.copying.spool import content
from checkpoints.copying.tables import CHECKPOINTS, TABLES, Kind
from checkpoints.copying.unfinished import publish, unfinished
from checkpoints.errors import (
    CopyRefused,
    NoCheckpointTables,
    StoreBusy,
    StoreError,
    StoreMissing,
    ThreadExists,
    ThreadNotFound,
)
from checkpoints.sqlite.driver import run
from checkpoints.sqlite.operations import select
from checkpoints.sqlite.schema import prepare
from checkpoints.stores.records import Size
from checkpoints.stores.sqlite.connection import Connected, connect, named
from checkpoints.stores.sqlite.opening import Fingerprint, sqlite_uri
from checkpoints.stores.sqlite.writing import written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.copying.progress import Meter, Stop
    from checkpoints.copying.spool import Spool
    from checkpoints.stores.location import Location

ATTEMPTS = 5
WAIT = 30.0  # seconds for the target's lock
SIZES = {column: f"length({column})" for column in ("checkpoint", "metadata", "value")}
INSERT = """\
INSERT INTO target.{table} (thread_id, {columns}) SELECT ?, {columns} FROM main.{table} ORDER BY rowid"""
ANY_ROW = "SELECT 1 FROM {table} WHERE thread_id = ? LIMIT 1"


class SqliteEnd:
    """A SQLite file at one end of a copy."""

    kind: Kind = "sqlite"

    def __init__(self, location: Location) -> None:
        self.location = location

    def require_none(self, thread_id: str) -> None:
        """Look, without a trace, whether the thread may be written. Raises StoreError, as ThreadExists."""
        with named(self.location.name):
            if target := look_into(self.location):
                with closing(target.conn) as conn:
                    for table in TABLES["sqlite"]:
                        if run(conn, select(ANY_ROW.format(table=table.name), (thread_id,))):
                            raise taken(thread_id)

    def read(self, thread_id: str, spool: Spool, meter: Meter) -> None:
        """Read all rows of the thread, as they are in one moment. Raises StoreError, as ThreadNotFound.

        A file that is read without locks is read again when somebody wrote meanwhile.
        """
        name = self.location.name
        for _ in range(ATTEMPTS):
            with named(name):
                source = Source(connect(self.location))
            conn = source.conn
            with suppress(Moved), named(name), closing(conn), meter.stop.interrupting(conn.interrupt):
                return source.read(thread_id, spool, meter)
        raise StoreBusy(f"{name} is written too often to be read without locks.")

    def write(self, thread_id: str, spool: Spool, meter: Meter) -> None:
        """Write the thread in one transaction. Raises StoreError, as ThreadExists."""
        path = os.path.realpath(self.location.path)
        with written(self.location.name, WAIT), meter.stop.interrupting(spool.conn.interrupt):
            if os.path.exists(path):
                _insert(path, thread_id, spool, meter)
            else:
                _create(path, thread_id, spool, meter)


class Moved(Exception):
    """Somebody wrote to a file that was read without locks."""


class Source:
    """A guarded connection, but without its deadline: a long thread takes its time."""

    def __init__(self, opened: Connected) -> None:
        self.conn, self._opening = opened.conn, opened.opening
        self.conn.set_progress_handler(None, 0)
        self.conn.text_factory = str  # what is no UTF-8 is refused, not changed
        self.tables = TABLES["sqlite"] if opened.schema.writes else (CHECKPOINTS,)
        self.dialect = Dialect("?", SIZES, {"task_path": opened.schema.sql("{task_path}")})
        self._before = Fingerprint.of(self._opening.path)

    def read(self, thread_id: str, spool: Spool, meter: Meter) -> None:
        """Read the thread. Raises Moved when what was read is not of one moment."""
        with spool.filling():
            try:
                self._read(thread_id, spool, meter)
            except (sqlite3.Error, StoreError):
                if not self.moved():
                    raise
                raise Moved from None
            if self.moved():
                raise Moved

    def moved(self) -> bool:
        """Tell whether somebody wrote while it was read without locks."""
        # In WAL mode it reads in a transaction. Elsewhere that would keep the agent from writing.
        if self._opening.journal_mode == "wal":
            return self._opening.moved()
        return Fingerprint.of(self._opening.path) != self._before

    def _read(self, thread_id: str, spool: Spool, meter: Meter) -> None:
        sizes = [run(self.conn, total(self.dialect, table, thread_id)) for table in self.tables]
        if not sum(size.rows for size in sizes):
            raise ThreadNotFound(f"There is no thread {thread_id!r} to copy.")
        meter.begin("read", Size(sum(size.rows for size in sizes), sum(size.bytes for size in sizes)))
        for table, size in zip(self.tables, sizes, strict=True):
            after = None
            while rows := run(self.conn, page(self.dialect, table, thread_id, after)):
                spool.add(table, rows)
                meter.advance(len(rows), sum(content(table, row) for row in rows))
                after = rows[-1][: len(table.key)]
            if spool.size(table).rows != size.rows:
                raise CopyRefused(f"Rows of the thread in {table.name} have no key of their own.")


def look_into(location: Location) -> Connected | None:
    """Open a target without a trace; None where a store can be made. Raises StoreError where it cannot."""
    path = os.path.realpath(location.path)
    if not os.path.exists(path):
        if not os.path.isdir(os.path.dirname(path)):
            raise StoreMissing(f"There is no folder for {location.name}.", advice="Create it first.")
        return None
    if os.path.isfile(path) and not os.path.getsize(path):  # a saver that was never used leaves no byte
        return None
    try:
        return connect(location)
    except NoCheckpointTables:
        if _has_tables(location.path):
            raise
        return None


def _has_tables(path: str) -> bool:
    """Tell whether a database is that of another application."""
    with closing(sqlite3.connect(sqlite_uri(path, "mode=ro"), uri=True)) as conn:
        return bool(conn.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone())


def taken(thread_id: str) -> ThreadExists:
    """Return the error of a target that has the thread."""
    return ThreadExists(f"There is a thread {thread_id!r} already.")


def _create(path: str, thread_id: str, spool: Spool, meter: Meter) -> None:
    """Make a new file beside its place, and put it there when it is whole: nobody sees half of it."""
    with unfinished(path) as beside:
        _insert(beside, thread_id, spool, meter)
        try:
            publish(beside, path)
        except FileExistsError:  # another one was faster
            _insert(path, thread_id, spool, meter)


def _insert(path: str, thread_id: str, spool: Spool, meter: Meter) -> None:
    with closing(sqlite3.connect(path, timeout=WAIT)) as target:
        prepare(target)
    conn = spool.conn
    conn.execute("ATTACH ? AS target", (sqlite_uri(path, "mode=rw"),))
    try:
        with transaction(conn, meter.stop):
            for table in spool.tables:
                if conn.execute(ANY_ROW.format(table=f"target.{table.name}"), (thread_id,)).fetchone():
                    raise taken(thread_id)
                sql = INSERT.format(table=table.name, columns=", ".join(table.columns))
                conn.execute(sql, (thread_id,))
                meter.advance(*spool.size(table))
    finally:
        conn.execute("DETACH target")


@contextmanager
def transaction(conn: sqlite3.Connection, stop: Stop) -> Iterator[None]:
    """Write in this block, in one transaction. Raises Stopped."""
    _lock(conn, stop)
    try:
        yield
        stop.check()
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def _lock(conn: sqlite3.Connection, stop: Stop) -> None:
    """Wait for the lock a little at a time: SQLite hears no interruption while it waits."""
    deadline = time.monotonic() + WAIT
    while True:
        stop.check()
        try:
            conn.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        else:
            return
