"""LangGraph's PostgreSQL saver for asyncio, on psycopg."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias

from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import AsyncConnection, AsyncPipeline, Capabilities
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from checkpoints.postgres.driver import arun
from checkpoints.postgres.schema import ATTEMPTS, COLLISIONS, MIGRATIONS, PAUSE, migrate
from checkpoints.postgres.tables import PostgresTables
from checkpoints.postgres.transactions import atransact
from checkpoints.saver.aio import AsyncSaver
from checkpoints.statements import Operation, T

Conn: TypeAlias = AsyncConnection[DictRow] | AsyncConnectionPool[AsyncConnection[DictRow]]


class AsyncPostgresSaver(AsyncSaver):
    """Saves checkpoints in a PostgreSQL database, in the tables of `langgraph-checkpoint-postgres`.

    Call `setup()` once for a database. Connections should be opened with `autocommit=True`: without it, what
    is put on a connection is committed by its owner, on one of a pool at the end of the call; copying,
    pruning and deleting runs commit themselves, unless the owner has a transaction open. On a pool
    calls run side by side.

    The synchronous methods are for other threads than the event loop's; on that one they raise
    `asyncio.InvalidStateError`, where waiting would be for ever.
    """

    MIGRATIONS = MIGRATIONS

    lock: asyncio.Lock

    def __init__(
        self,
        conn: Conn,
        pipe: AsyncPipeline | None = None,
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde)
        if pipe is not None and isinstance(conn, AsyncConnectionPool):
            raise ValueError("A pipeline belongs to one connection; with a pool, leave `pipe` out.")
        self.conn = conn
        self.pipe = pipe
        self.lock = asyncio.Lock()
        self.loop = asyncio.get_running_loop()
        self.supports_pipeline = Capabilities().has_pipeline()

    @classmethod
    @asynccontextmanager
    async def from_conn_string(
        cls, conn_string: str, *, pipeline: bool = False, serde: SerializerProtocol | None = None
    ) -> AsyncIterator[Self]:
        """Connect to the database of a URL or libpq string, and disconnect when the block ends."""
        async with await AsyncConnection.connect(
            conn_string,
            autocommit=True,
            prepare_threshold=0,
            row_factory=dict_row,
            client_encoding="utf8",  # also where the database has none
        ) as conn:
            if pipeline:
                async with conn.pipeline() as pipe:
                    yield cls(conn, pipe, serde)
            else:
                yield cls(conn, serde=serde)

    async def setup(self) -> None:
        """Create the tables, or migrate those of an older release. Several processes may do it at once."""
        async with self._connection() as conn, _autocommit(conn):
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await arun(conn, migrate())
                    return
                except COLLISIONS:
                    if attempt == ATTEMPTS:
                        raise
                    await asyncio.sleep(PAUSE)

    @property
    def _tables(self) -> PostgresTables:
        return PostgresTables(self.serde)

    async def _read(self, operation: Operation[T]) -> T:
        async with self._connection() as conn:
            return await arun(conn, operation)

    async def _write(self, operation: Callable[[], Operation[T]]) -> T:
        return await self._read(operation())

    async def _transact(self, operation: Callable[[], Operation[T]], *, one_moment: bool = True) -> T:
        async with self._connection() as conn:
            if self.pipe:  # what was sent since the last sync would be part of the transaction
                await self.pipe.sync()
            return await atransact(conn, operation, one_moment=one_moment)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Lend a connection: one of the pool, or the only one, to one call at a time."""
        if isinstance(self.conn, AsyncConnectionPool):
            async with self.conn.connection() as conn:
                yield conn
        else:
            async with self.lock:
                yield self.conn


@asynccontextmanager
async def _autocommit(conn: AsyncConnection[Any]) -> AsyncIterator[None]:
    """Commit each statement: an index that is created CONCURRENTLY cannot be part of a transaction.

    One that the owner has open is joined; a database that lacks no index takes that.
    """
    if conn.autocommit or conn.info.transaction_status != TransactionStatus.IDLE:
        yield
        return
    await conn.set_autocommit(True)
    try:
        yield
    finally:
        await conn.set_autocommit(False)
