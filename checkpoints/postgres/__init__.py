"""LangGraph's PostgreSQL saver for synchronous code, on psycopg."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeAlias

from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import Capabilities, Connection, Pipeline
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from checkpoints.postgres.driver import run
from checkpoints.postgres.schema import ATTEMPTS, COLLISIONS, MIGRATIONS, PAUSE, migrate
from checkpoints.postgres.tables import PostgresTables
from checkpoints.postgres.transactions import transact
from checkpoints.saver.sync import SyncSaver
from checkpoints.statements import Operation, T

Conn: TypeAlias = Connection[DictRow] | ConnectionPool[Connection[DictRow]]


class PostgresSaver(SyncSaver):
    """Saves checkpoints in a PostgreSQL database, in the tables of `langgraph-checkpoint-postgres`.

    Call `setup()` once for a database. Connections should be opened with `autocommit=True`: without it, what
    is put on a connection is committed by its owner, on one of a pool at the end of the call; copying,
    pruning and deleting runs commit themselves, unless the owner has a transaction open. Threads may
    share a saver; on a pool their calls run side by side.
    """

    ASYNCHRONOUS = "from checkpoints.postgres.aio import AsyncPostgresSaver"
    MIGRATIONS = MIGRATIONS

    def __init__(
        self,
        conn: Conn,
        pipe: Pipeline | None = None,
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde)
        if pipe is not None and isinstance(conn, ConnectionPool):
            raise ValueError("A pipeline belongs to one connection; with a pool, leave `pipe` out.")
        self.conn = conn
        self.pipe = pipe
        self.lock = threading.Lock()
        self.supports_pipeline = Capabilities().has_pipeline()

    @classmethod
    @contextmanager
    def from_conn_string(
        cls, conn_string: str, *, pipeline: bool = False, serde: SerializerProtocol | None = None
    ) -> Iterator[Self]:
        """Connect to the database of a URL or libpq string, and disconnect when the block ends."""
        with Connection.connect(
            conn_string,
            autocommit=True,
            prepare_threshold=0,
            row_factory=dict_row,
            client_encoding="utf8",  # also where the database has none
        ) as conn:
            if pipeline:
                with conn.pipeline() as pipe:
                    yield cls(conn, pipe, serde)
            else:
                yield cls(conn, serde=serde)

    def setup(self) -> None:
        """Create the tables, or migrate those of an older release. Several processes may do it at once."""
        with self._connection() as conn, _autocommit(conn):
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    run(conn, migrate())
                    return
                except COLLISIONS:
                    if attempt == ATTEMPTS:
                        raise
                    time.sleep(PAUSE)

    @property
    def _tables(self) -> PostgresTables:
        return PostgresTables(self.serde)

    def _read(self, operation: Operation[T]) -> T:
        with self._connection() as conn:
            return run(conn, operation)

    def _write(self, operation: Callable[[], Operation[T]]) -> T:
        return self._read(operation())

    def _transact(self, operation: Callable[[], Operation[T]], *, one_moment: bool = True) -> T:
        with self._connection() as conn:
            if self.pipe:  # what was sent since the last sync would be part of the transaction
                self.pipe.sync()
            return transact(conn, operation, one_moment=one_moment)

    @contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        """Lend a connection: one of the pool, or the only one, to one call at a time."""
        if isinstance(self.conn, ConnectionPool):
            with self.conn.connection() as conn:
                yield conn
        else:
            with self.lock:
                yield self.conn


@contextmanager
def _autocommit(conn: Connection[Any]) -> Iterator[None]:
    """Commit each statement: an index that is created CONCURRENTLY cannot be part of a transaction.

    One that the owner has open is joined; a database that lacks no index takes that.
    """
    if conn.autocommit or conn.info.transaction_status != TransactionStatus.IDLE:
        yield
        return
    conn.autocommit = True
    try:
        yield
    finally:
        conn.autocommit = False
