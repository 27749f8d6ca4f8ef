"""LangGraph's SQLite saver for asyncio, on aiosqlite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

import aiosqlite
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from checkpoints.saver.aio import AsyncSaver
from checkpoints.sqlite.commits import Commits
from checkpoints.sqlite.driver import arun, on_thread
from checkpoints.sqlite.schema import prepare
from checkpoints.sqlite.tables import SqliteTables
from checkpoints.statements import Operation, T


class AsyncSqliteSaver(AsyncSaver):
    """Saves checkpoints in a SQLite database, in the tables of `langgraph-checkpoint-sqlite`.

    Reading never writes: it creates no tables and migrates none; a database without them reads as empty, and
    a read-only connection will do. A call is one hop to the connection's thread, a listing one for
    each page.

    The synchronous methods are for other threads than the event loop's; on that one they raise
    `asyncio.InvalidStateError`, where waiting would be for ever.
    """

    conn: aiosqlite.Connection
    lock: asyncio.Lock
    is_setup: bool

    def __init__(self, conn: aiosqlite.Connection, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self.jsonplus_serde = JsonPlusSerializer()
        self.conn = conn
        self.lock = asyncio.Lock()
        self.loop = asyncio.get_running_loop()
        self.is_setup = False
        self._commits = Commits(conn)

    @classmethod
    @asynccontextmanager
    async def from_conn_string(cls, conn_string: str) -> AsyncIterator[Self]:
        """Open the database at a path (or `:memory:`) and close it when the block ends."""
        async with aiosqlite.connect(conn_string) as conn:
            yield cls(conn)

    async def setup(self) -> None:
        """Create the tables, or migrate those of an older release, as the first write does."""
        if not self.is_setup:
            async with self.lock:
                await self._prepare()

    @property
    def _tables(self) -> SqliteTables:
        return SqliteTables(self.serde)

    async def _read(self, operation: Operation[T]) -> T:
        async with self.lock:
            return await arun(self.conn, operation)

    async def _write(self, operation: Callable[[], Operation[T]]) -> T:
        conn, commit = self.conn, self._commits.commit
        with self._commits.join(operation, conn) as call:
            async with self.lock:
                while not call.done:
                    self.is_setup = await on_thread(conn, commit, conn, prepared=self.is_setup)
        return call.result()

    async def _transact(self, operation: Callable[[], Operation[T]], *, one_moment: bool = True) -> T:
        return await self._write(operation)  # which always sees one

    async def _prepare(self) -> None:
        if not self.is_setup:
            await on_thread(self.conn, prepare)
            self.is_setup = True
