"""LangGraph's SQLite saver for synchronous code."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Self

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from checkpoints.saver.sync import SyncSaver
from checkpoints.sqlite.commits import Commits
from checkpoints.sqlite.driver import run
from checkpoints.sqlite.schema import prepare
from checkpoints.sqlite.tables import SqliteTables
from checkpoints.statements import Operation, T


class SqliteSaver(SyncSaver):
    """Saves checkpoints in a SQLite database, in the tables of `langgraph-checkpoint-sqlite`.

    Reading never writes: it creates no tables and migrates none; a database without them reads as empty.
    Threads may share a saver whose connection was opened with `check_same_thread=False`.
    """

    ASYNCHRONOUS = "from checkpoints.sqlite.aio import AsyncSqliteSaver"

    conn: sqlite3.Connection
    is_setup: bool

    def __init__(self, conn: sqlite3.Connection, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self.jsonplus_serde = JsonPlusSerializer()
        self.conn = conn
        self._commits = Commits.of(conn)
        self.lock = self._commits.lock
        self.is_setup = False

    @classmethod
    @contextmanager
    def from_conn_string(cls, conn_string: str) -> Iterator[Self]:
        """Open the database at a path (or `:memory:`) and close it when the block ends."""
        with closing(sqlite3.connect(conn_string, check_same_thread=False)) as conn:
            yield cls(conn)

    def setup(self) -> None:
        """Create the tables, or migrate those of an older release, as the first write does."""
        if not self.is_setup:
            with self.lock:
                self._prepare()

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """Lend a cursor under the saver's lock.

        With `transaction` the tables exist, and what the block did is committed, or rolled back on an error.
        """
        with self.lock, closing(self.conn.cursor()) as cursor:
            if not transaction:
                yield cursor
                return
            self._prepare()
            try:
                yield cursor
                self.conn.commit()
            except BaseException:
                self.conn.rollback()
                raise

    @property
    def _tables(self) -> SqliteTables:
        return SqliteTables(self.serde)

    def _read(self, operation: Operation[T]) -> T:
        with self.lock:
            return run(self.conn, operation)

    def _write(self, operation: Callable[[], Operation[T]]) -> T:
        conn = self.conn
        with self._commits.join(operation, conn) as call, self.lock:
            while not call.done:
                self.is_setup = self._commits.commit(conn, conn, prepared=self.is_setup)
        return call.result()

    def _transact(self, operation: Callable[[], Operation[T]], *, one_moment: bool = True) -> T:
        return self._write(operation)  # which always sees one

    def _prepare(self) -> None:
        if not self.is_setup:
            prepare(self.conn)
            self.is_setup = True
