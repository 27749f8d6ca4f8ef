"""SQLite files as what threads are exported from and imported into."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from checkpoints.bundling.progress import Put
from checkpoints.bundling.reading import Look, Moved
from checkpoints.bundling.threads import counted
from checkpoints.copying.spool import WAIT as PATIENCE
from checkpoints.copying.sqlite import ANY_ROW, WAIT, Source, look_into, transaction
from checkpoints.copying.tables import TABLES, Kind
from checkpoints.copying.unfinished import publish, unfinished
from checkpoints.errors import StoreBusy, StoreError
from checkpoints.sqlite.driver import run
from checkpoints.sqlite.schema import prepare
from checkpoints.stores.sqlite.connection import connect, named
from checkpoints.stores.sqlite.writing import SETTINGS, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from checkpoints.bundling.threads import Threads
    from checkpoints.copying.progress import Stop
    from checkpoints.stores.location import Location
    from checkpoints.stores.records import Size

INSERT = "INSERT INTO {table} (thread_id, {columns}) VALUES ({marks})"


class SqliteSource:
    """A file that threads are exported from."""

    kind: Kind = "sqlite"

    def __init__(self, location: Location) -> None:
        self.name = location.name
        self._location = location

    @contextmanager
    def look(self, stop: Stop) -> Iterator[Look]:
        """Open the file for one look. Raises StoreError, and Moved when that counts for nothing."""
        with named(self.name):
            source = Source(connect(self._location))
            with closing(source.conn) as conn, stop.interrupting(conn.interrupt):
                try:
                    yield Look(source.tables, source.dialect, partial(run, conn))
                except (sqlite3.Error, StoreError):
                    if not source.moved():
                        raise
                    raise Moved from None
                if source.moved():
                    raise Moved


class SqliteTarget:
    """A file that gets threads. One that an agent may use is left to others as long as it was locked."""

    kind: Kind = "sqlite"

    def __init__(self, conn: sqlite3.Connection, stop: Stop, *, shared: bool) -> None:
        self._conn = conn
        self._stop = stop
        self._shared = shared
        self._pause = 0.0

    def put(self, held: Threads, thread_ids: Sequence[str]) -> Put:
        """Write those of the threads that are not there, in one transaction."""
        sizes: dict[str, Size] = {}
        time.sleep(self._pause)
        with transaction(self._conn, self._stop):
            began = time.monotonic()
            there = tuple(filter(self._has, thread_ids))
            wanted = [thread_id for thread_id in thread_ids if thread_id not in there]
            for table in TABLES["sqlite"]:
                columns, marks = ", ".join(table.columns), ", ".join("?" * (len(table.columns) + 1))
                sql = INSERT.format(table=table.name, columns=columns, marks=marks)
                self._conn.executemany(sql, counted(table, held.rows(table, wanted), sizes))
        self._pause = min(time.monotonic() - began, 1.0) if self._shared else 0.0
        return Put(sizes, there)

    def _has(self, thread_id: str) -> bool:
        return any(
            self._conn.execute(ANY_ROW.format(table=table.name), (thread_id,)).fetchone()
            for table in TABLES["sqlite"]
        )


@contextmanager
def receiving(location: Location, stop: Stop) -> Iterator[SqliteTarget]:
    """Open a file to import into, or make one that is in its place at the end. Raises StoreError."""
    path = os.path.realpath(location.path)
    with named(location.name):
        if found := look_into(location):
            found.conn.close()
    with written(location.name, WAIT):
        if os.path.exists(path):
            with _connected(path, stop) as conn:
                yield SqliteTarget(conn, stop, shared=True)
            return
        with unfinished(path) as beside:
            with _connected(beside, stop) as conn:
                yield SqliteTarget(conn, stop, shared=False)
            try:
                publish(beside, path)
            except FileExistsError:
                sentence = f"{location.name} came into being meanwhile, so nothing was imported."
                raise StoreBusy(sentence, advice="Import again, into that file.") from None


@contextmanager
def _connected(path: str, stop: Stop) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=WAIT)) as conn:
        prepare(conn)
    # SQLite hears no interruption while it waits for a lock: `transaction` waits a little at a time.
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as conn:
        for setting in SETTINGS:
            conn.execute(setting)
        with stop.interrupting(conn.interrupt):
            yield conn
