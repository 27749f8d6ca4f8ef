"""Connections to PostgreSQL: a few per event loop and database, each for one question at a time.

Not psycopg_pool's: its tasks go on knocking with a password that was refused, and log the server's address;
whoever waits for a connection learns only that there was none. Here who asks connects, and hears why not.
A connection is tried by the BEGIN of the next question, so a server that was restarted is found at no cost.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from checkpoints.errors import ServerFull, StoreUnreachable
from checkpoints.stores.postgres.failures import LOCK_SECONDS, READ_SECONDS, named, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from checkpoints.stores.location import Location

T = TypeVar("T")
MOST = 8
WAIT_SECONDS = 5.0
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 60.0

# A session of its own is nothing to rely on: PgBouncer hands it to others. Plans are short, so no JIT.
# Where policies hide rows, their functions would run: such tables are refused.
BEGIN = f"""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = {int(READ_SECONDS * 1000)};
SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)};
SET LOCAL jit = off;
SET LOCAL row_security = off
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

_pools: dict[asyncio.AbstractEventLoop, dict[Location, Pool]] = {}


@asynccontextmanager
async def reading(
    location: Location, seconds: float | None = None
) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Give a connection inside a read-only transaction that sees one state. Raises StoreError.

    `seconds` is how long a statement may take where that is not as long as for a page.
    """
    _drop_closed()
    pools = _pools.setdefault(asyncio.get_running_loop(), {})
    pool = pools.setdefault(location, Pool(location))
    with named(location.name, seconds):
        async with pool.connection() as conn:
            if seconds is not None:
                await conn.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}".encode())
            yield conn


def _drop_closed() -> None:
    """Leave the connections of loops that have ended without `close`, as those of `asyncio.run`."""
    for loop in [loop for loop in list(_pools) if loop.is_closed()]:  # other threads have loops, too
        for pool in _pools.pop(loop, {}).values():
            pool.drop()


async def close() -> None:
    """Close the connections of the running event loop that nobody uses; those in use follow when they end."""
    _drop_closed()
    for pool in _pools.pop(asyncio.get_running_loop(), {}).values():
        await pool.close()


@contextmanager
def reading_now(location: Location) -> Iterator[psycopg.Connection[Any]]:
    """Give the same for code without an event loop, on a connection that is closed then."""
    with named(location.name):
        try:
            conn = psycopg.connect(location.conninfo, **_SESSION)
        except (psycopg.OperationalError, UnicodeError) as error:  # UnicodeError: a host that cannot be one
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

    def drop(self) -> None:
        """Close without a loop the connections that nobody uses."""
        while self._idle:
            _, conn = self._idle.pop()
            conn.pgconn.finish()

    async def _begun(self) -> psycopg.AsyncConnection[Any]:
        try:
            while self._idle:
                _, conn = self._idle.pop()
                if await _begin(conn):
                    return conn
            conn = await self._connected()
            await _begin(conn, raises=True)
        except TimeoutError:
            self.drop()  # they are of the same silent server
            sentence = f"The server of {self._location.name} did not answer in time."
            raise StoreUnreachable(sentence) from None
        return conn

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS + 1):
                return await psycopg.AsyncConnection.connect(self._location.conninfo, **_SESSION)
        except (psycopg.OperationalError, UnicodeError) as error:
            raise refusal(error, self._location.name) from None

    async def _end(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Keep the connection for the next question, unless it was lost or left in a statement."""
        try:
            if conn.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                await promptly(conn, CONNECT_SECONDS, conn.rollback())
        except (psycopg.Error, TimeoutError):
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


async def _begin(conn: psycopg.AsyncConnection[Any], *, raises: bool = False) -> bool:
    """Begin on a connection; close it and tell, or raise, where the server has ended it meanwhile.

    Raises TimeoutError where the server says nothing.
    """
    try:
        await promptly(conn, CONNECT_SECONDS, conn.execute(BEGIN))
    except BaseException as error:
        await conn.close()
        if raises or not isinstance(error, psycopg.Error):
            raise
        return False
    return True


async def promptly(conn: psycopg.AsyncConnection[Any], seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Wait so long for what a connection does; then leave the connection and raise TimeoutError.

    psycopg would ask the server to cancel the statement and wait for that: ten seconds more, if it is silent.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            conn.pgconn.finish()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled() or not done:
        raise TimeoutError
    return task.result()
