"""Connections to PostgreSQL: a few per event loop and database, each for one question at a time.

Not psycopg_pool's: its tasks go on knocking with a password that was refused, and log the server's address;
whoever waits for a connection learns only that there was none. Here who asks connects, and hears why not.
A connection is tried by the BEGIN of the next question, so a server that was restarted is found at no cost.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import TransactionStatus

from checkpoints.errors import ServerFull, StoreUnreachable
from checkpoints.stores.postgres.failures import LOCK_SECONDS, READ_SECONDS, named, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from checkpoints.stores.location import Location

MOST = 8
WAIT_SECONDS = 5.0
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 60.0

# A session of its own is nothing to rely on: PgBouncer hands it to others. Plans are short, so no JIT.
BEGIN = f"""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = {int(READ_SECONDS * 1000)};
SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)};
SET LOCAL jit = off
"""
_SESSION: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,
    "client_encoding": "utf8",
    "fallback_application_name": "checkpoint-explorer",
    "connect_timeout": int(CONNECT_SECONDS),
    # A server that is gone without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Pool]] = WeakKeyDictionary()


@asynccontextmanager
async def reading(location: Location) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Give a connection inside a read-only transaction that sees one state. Raises StoreError."""
    pools = _pools.setdefault(asyncio.get_running_loop(), {})
    pool = pools.setdefault(location.conninfo, Pool(location))
    with named(location.name):
        async with pool.connection() as conn:
            yield conn


async def close() -> None:
    """Close the connections of the running event loop that nobody uses; those in use follow when they end."""
    for pool in _pools.pop(asyncio.get_running_loop(), {}).values():
        await pool.close()


@contextmanager
def reading_now(location: Location) -> Iterator[psycopg.Connection[Any]]:
    """Give the same for code without an event loop, on a connection that is closed then."""
    with named(location.name):
        try:
            conn = psycopg.connect(location.conninfo, **_SESSION)
        except psycopg.OperationalError as error:
            raise refusal(error, location.name) from None
        with conn:
            conn.execute(BEGIN)
            yield conn
            conn.rollback()


class Pool:
    """The connections of one event loop to one database."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._idle: list[tuple[float, psycopg.AsyncConnection[Any]]] = []
        self._room = asyncio.Semaphore(MOST)
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Give a connection for as long as the block lasts. Raises StoreError and psycopg's errors."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._room.acquire()
        except TimeoutError:
            sentence = f"All {MOST} connections to {self._location.name} are reading."
            raise ServerFull(sentence) from None
        try:
            conn = await self._begun()
            try:
                yield conn
            finally:
                await self._end(conn)
        finally:
            self._room.release()

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop()[1].close()

    async def _begun(self) -> psycopg.AsyncConnection[Any]:
        while self._idle:
            _, conn = self._idle.pop()
            if await _begin(conn):
                return conn
        conn = await self._connected()
        try:
            await conn.execute(BEGIN)
        except BaseException:
            await conn.close()
            raise
        return conn

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS + 1):
                return await psycopg.AsyncConnection.connect(self._location.conninfo, **_SESSION)
        except TimeoutError:
            sentence = f"The server of {self._location.name} did not answer in time."
            raise StoreUnreachable(sentence) from None
        except psycopg.OperationalError as error:
            raise refusal(error, self._location.name) from None

    async def _end(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Keep the connection for the next question, unless it was lost or left in a statement."""
        try:
            if conn.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                await conn.rollback()
        except psycopg.Error:
            pass
        finally:
            if self._closed or conn.info.transaction_status != TransactionStatus.IDLE:
                await conn.close()
            else:
                self._idle.append((time.monotonic(), conn))
        await self._drop_idle()

    async def _drop_idle(self) -> None:
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle and self._idle[0][0] < oldest:
            await self._idle.pop(0)[1].close()


async def _begin(conn: psycopg.AsyncConnection[Any]) -> bool:
    """Begin on a connection that was idle; close it and tell where the server has ended it meanwhile."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await conn.execute(BEGIN)
    except (psycopg.Error, TimeoutError):
        await conn.close()
        return False
    except BaseException:
        await conn.close()
        raise
    return True
