"""PostgreSQL stores: one question, one read-only transaction."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from checkpoints.branches import UNKNOWN
from checkpoints.errors import CheckpointNotFound, ReadTimeout, ThreadNotFound
from checkpoints.inert import InertSerializer
from checkpoints.postgres.aio import AsyncPostgresSaver
from checkpoints.postgres.driver import arun, run
from checkpoints.statements import Operation, Row, Statement
from checkpoints.stores.forks import Belongings, Sizes, measured
from checkpoints.stores.postgres import pool, selection, threads, timeline
from checkpoints.stores.postgres.failures import READ_SECONDS
from checkpoints.stores.postgres.forks import PostgresForks
from checkpoints.stores.postgres.listing import count_threads
from checkpoints.stores.postgres.places import is_storable
from checkpoints.stores.postgres.schema import COLUMNS, Schema
from checkpoints.stores.postgres.usage import usage
from checkpoints.stores.postgres.writing import refusal
from checkpoints.stores.records import (
    CheckpointRow,
    NamespaceRow,
    Overview,
    Search,
    ThreadPage,
    TimelinePage,
    WriteRow,
)
from checkpoints.stores.selection import TABLES, added_up

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

    import psycopg
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from checkpoints.branches import Tree
    from checkpoints.stores.location import Location
    from checkpoints.stores.selection import Criteria, Head, Held, Part, ThreadKey
    from checkpoints.stores.usage import Usage

T = TypeVar("T")
COUNT_SECONDS = 0.25

# Partitions have sizes of their own.
SERVER = """
SELECT current_setting('server_version'), pg_is_in_recovery(),
       (SELECT coalesce(sum(pg_total_relation_size(part)), 0)::int8
        FROM unnest(%s::text[]) name,
             LATERAL (SELECT to_regclass(name)::oid
                      UNION SELECT relid FROM pg_partition_tree(to_regclass(name))) parts(part))
"""
# Equal texts mean that no transaction has ended between. A standby has none of its own; there it is how far
# it has come in its primary's log. What a restored server counts begins anew. A coordinator of Citus has no
# part in what is written to its nodes, so it tells nothing. It is asked before the search_path is sealed.
_PROBE = """
SELECT CASE WHEN pg_catalog.to_regclass('pg_catalog.pg_dist_partition') IS NULL THEN pg_catalog.concat_ws(
    ' ', pg_catalog.pg_current_snapshot(), pg_catalog.pg_postmaster_start_time(),
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() END) END
"""


class PostgresStore:
    """The `Store` of a PostgreSQL database, inside a transaction that only reads."""

    def __init__(
        self,
        location: Location,
        conn: psycopg.AsyncConnection[Any],
        schema: Schema,
        serde: InertSerializer,
        seconds: float | None = None,
    ) -> None:
        self.location = location
        self.conn = conn
        self.serde = serde
        self._schema = schema
        self._seconds = seconds

    @cached_property
    def saver(self) -> BaseCheckpointSaver[Any]:
        return _Saver(self)

    async def overview(self) -> Overview:
        [(version, standby, size)] = await self.run(server(self._schema))
        count, more = await self.run(count_threads(COUNT_SECONDS))
        return Overview(
            name=self.location.name,
            location=self.location.text,
            bytes=size,
            threads=count,
            threads_at_least=more,
            server=version,
            standby=standby,
        )

    async def usage(self) -> Usage:
        return await self.run(usage(self._schema))

    async def threads(
        self, *, before: str | None = None, limit: int = 50, search: Search | None = None
    ) -> ThreadPage:
        if search and not is_storable(search.thread_id or "", *(search.metadata or ())):
            return ThreadPage(())
        return await self.run(threads.page(self._schema, search, before, limit))

    async def namespaces(self, thread_id: str) -> tuple[NamespaceRow, ...]:
        if not is_storable(thread_id):
            raise ThreadNotFound("There is no such thread in this store.")
        return await self.run(threads.namespaces(thread_id))

    async def timeline(
        self,
        thread_id: str,
        ns: str,
        *,
        before: str | None = None,
        around: str | None = None,
        branch: str | None = None,
        limit: int = 50,
    ) -> TimelinePage:
        if not is_storable(thread_id, ns, before or "", around or "", branch or ""):
            return TimelinePage(())
        if branch:
            return await self.run(timeline.branch(self._schema, thread_id, ns, branch, before, around, limit))
        return await self.run(timeline.page(self._schema, thread_id, ns, before, around, limit))

    async def checkpoint_row(self, thread_id: str, ns: str, checkpoint_id: str) -> CheckpointRow:
        if not is_storable(thread_id, ns, checkpoint_id):
            raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
        return await self.run(timeline.checkpoint(thread_id, ns, checkpoint_id))

    async def tree(self, thread_id: str, ns: str) -> Tree:
        if not is_storable(thread_id, ns):
            return UNKNOWN
        return await self.run(timeline.tree(thread_id, ns))

    async def siblings(
        self, thread_id: str, ns: str, checkpoint_ids: Sequence[str]
    ) -> tuple[CheckpointRow, ...]:
        if not is_storable(thread_id, ns, *checkpoint_ids):
            return ()
        return await self.run(timeline.several(thread_id, ns, checkpoint_ids))

    async def writes(self, thread_id: str, ns: str, checkpoint_id: str) -> tuple[WriteRow, ...]:
        if not is_storable(thread_id, ns, checkpoint_id):
            return ()
        return await self.run(timeline.writes_of(self._schema, thread_id, ns, checkpoint_id))

    async def head(self, thread_id: str, ns: str) -> str | None:
        if not is_storable(thread_id, ns):
            return None
        return await self.run(PostgresForks(self._schema).head(thread_id, ns))

    async def belongings(self, thread_id: str, ns: str, checkpoint_id: str) -> tuple[Belongings, Sizes]:
        if not is_storable(thread_id, ns, checkpoint_id):
            raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
        return await self.run(measured(PostgresForks(self._schema), thread_id, ns, checkpoint_id))

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(COLUMNS)

    async def existing(self, keys: Sequence[ThreadKey]) -> list[ThreadKey]:
        return await self.run(selection.existing(keys))

    async def candidates(self, criteria: Criteria) -> list[ThreadKey]:
        return await self.run(selection.candidates(criteria))

    async def narrowed(self, keys: Sequence[ThreadKey], criteria: Criteria) -> list[ThreadKey]:
        return await self.run(selection.narrowed(keys, criteria))

    async def heads(self, keys: Sequence[ThreadKey]) -> list[Head]:
        return await self.run(selection.heads(self._schema, keys))

    async def held(self, keys: Sequence[ThreadKey]) -> list[tuple[ThreadKey, Held]]:
        found: dict[str, list[Part]] = {}
        for place in range(len(TABLES)):
            rows = await self.run(selection.tallied(place, keys))
            await asyncio.to_thread(selection.gather, found, place, rows)
            del rows
        return await asyncio.to_thread(added_up, keys, {key: found.get(key.text or "", ()) for key in keys})

    async def write_refusal(self) -> str | None:
        return await self.run(refusal(self._schema, self.location.name))

    async def change_probe(self) -> str:
        [(probe,)] = await self.run(asked(Statement(_PROBE)))
        return str(probe or uuid4().hex)

    async def run(self, operation: Operation[T]) -> T:
        """Run an operation that reads. Raises StoreError."""
        return await _run(self.location, self.conn, self._schema.here(operation), self._seconds)


class _Saver(AsyncPostgresSaver):
    """The saver of an open store, whose reads end when the store's do."""

    def __init__(self, store: PostgresStore) -> None:
        super().__init__(store.conn, serde=store.serde)
        self._store = store

    async def _read(self, operation: Operation[T]) -> T:
        return await self._store.run(operation)


async def read(
    location: Location,
    question: Callable[[PostgresStore], Awaitable[T]],
    *,
    serde: InertSerializer | None = None,
    seconds: float | None = None,
) -> T:
    """Ask the question in one transaction, which sees one state of the store."""
    serde = serde or InertSerializer.from_environment()
    async with pool.reading(location, seconds) as conn:
        schema = await _run(location, conn, Schema.look(location.name))
        return await question(PostgresStore(location, conn, schema, serde, seconds))


async def read_since(
    location: Location,
    mark: Hashable,
    question: Callable[[PostgresStore], Awaitable[T]],
    *,
    serde: InertSerializer | None = None,
) -> tuple[Hashable, T] | None:
    """Ask the question unless nobody has written since the mark; return the next mark with the answer."""
    serde = serde or InertSerializer.from_environment()
    async with pool.reading(location) as conn:
        [(now,)] = await _run(location, conn, asked(Statement(_PROBE)))
        if now is not None and now == mark:
            return None
        schema = await _run(location, conn, Schema.look(location.name))
        return now, await question(PostgresStore(location, conn, schema, serde))


def check(location: Location) -> None:
    """Raise the StoreError that says why this store cannot be read, if it cannot."""
    with pool.reading_now(location) as conn:
        run(conn, Schema.look(location.name))


async def close() -> None:
    """Close the connections that the running event loop keeps."""
    await pool.close()


async def _run(
    location: Location,
    conn: psycopg.AsyncConnection[Any],
    operation: Operation[T],
    seconds: float | None = None,
) -> T:
    # The server ends a statement that takes too long; this is for one that has gone silent.
    try:
        return await pool.promptly(conn, (seconds or READ_SECONDS) + 5, arun(conn, operation))
    except TimeoutError:
        raise ReadTimeout(f"{location.name} did not answer in time.") from None


def server(schema: Schema) -> Operation[list[tuple[Any, ...]]]:
    """Return the server's version, whether it is a standby, and the bytes of the tables."""
    return asked(Statement(SERVER, (list(schema.names.values()),)))


def asked(statement: Statement) -> Operation[list[Row]]:
    """Execute one statement."""
    return (yield statement)
