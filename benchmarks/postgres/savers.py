"""The savers that take part: ours and the official ones, on a connection, on a pool and in a pipeline."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.postgres import PostgresSaver as OfficialSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver as OfficialAsyncSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from checkpoints.postgres import PostgresSaver
from checkpoints.postgres.aio import AsyncPostgresSaver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

SIZE = 10  # connections of a pool
OPTIONS: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}

Opener = "Callable[[str], Any]"  # the URL of a database -> a context manager that gives a saver


@asynccontextmanager
async def pooled(kind: Any, url: str) -> AsyncIterator[Any]:
    """Open an asynchronous saver on a pool, as LangGraph's documentation does."""
    async with AsyncConnectionPool(url, min_size=SIZE, max_size=SIZE, kwargs=OPTIONS, open=False) as pool:
        await pool.wait()
        yield kind(pool)


@contextmanager
def pooled_sync(kind: Any, url: str) -> Iterator[Any]:
    """Open a synchronous saver on a pool."""
    with ConnectionPool(url, min_size=SIZE, max_size=SIZE, kwargs=OPTIONS, open=False) as pool:
        pool.wait()
        yield kind(pool)


def _each(opener: Callable[[Any], Any], ours: Any, official: Any) -> dict[str, Any]:
    return {"ours": opener(ours), "official": opener(official)}


ASYNC = AsyncPostgresSaver, OfficialAsyncSaver
SYNC = PostgresSaver, OfficialSaver
ON_CONNECTION = _each(lambda kind: kind.from_conn_string, *ASYNC)
ON_POOL = _each(lambda kind: partial(pooled, kind), *ASYNC)
IN_PIPELINE = _each(lambda kind: partial(kind.from_conn_string, pipeline=True), *ASYNC)
SYNC_ON_CONNECTION = _each(lambda kind: kind.from_conn_string, *SYNC)
SYNC_ON_POOL = _each(lambda kind: partial(pooled_sync, kind), *SYNC)
OURS_ON_CONNECTION = {"ours": ON_CONNECTION["ours"]}
