"""SQLite stores: opened for one question, and closed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import aiosqlite

from checkpoints.errors import StoreBusy, StoreError
from checkpoints.inert import InertSerializer
from checkpoints.sqlite.aio import AsyncSqliteSaver
from checkpoints.sqlite.driver import arun
from checkpoints.stores.forks import Belongings, Sizes, measured
from checkpoints.stores.location import shown
from checkpoints.stores.records import (
    CheckpointRow,
    NamespaceRow,
    Overview,
    Search,
    ThreadPage,
    TimelinePage,
    WriteRow,
)
from checkpoints.stores.sqlite import selection, threads, timeline, writing
from checkpoints.stores.sqlite.connection import Connected, connect, named
from checkpoints.stores.sqlite.forks import SqliteForks
from checkpoints.stores.sqlite.listing import count_threads, last_rows
from checkpoints.stores.sqlite.opening import Fingerprint
from checkpoints.stores.sqlite.usage import usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

    from checkpoints.branches import Tree
    from checkpoints.statements import Operation
    from checkpoints.stores.location import Location
    from checkpoints.stores.selection import Criteria, Head, Held, ThreadKey
    from checkpoints.stores.usage import Usage

T = TypeVar("T")
ATTEMPTS = 5
COUNT_SECONDS = 0.25
SETTLED_NS = 1_000_000_000


class SqliteStore:
    """The `Store` of a SQLite file, on a connection that only reads."""

    def __init__(
        self, location: Location, conn: aiosqlite.Connection, opened: Connected, serde: InertSerializer
    ) -> None:
        self.location = location
        self.conn = conn
        self.serde = serde
        self._opening = opened.opening
        self._schema = opened.schema

    @cached_property
    def saver(self) -> AsyncSqliteSaver:
        return AsyncSqliteSaver(self.conn, serde=self.serde)

    async def overview(self) -> Overview:
        count, more = await self._run(count_threads(self._schema, COUNT_SECONDS))
        files = Fingerprint.of(self._opening.path)
        return Overview(
            name=self.location.name,
            location=shown(self.location.text),
            bytes=files.bytes,
            threads=count,
            threads_at_least=more,
            journal_mode=self._opening.journal_mode,
            log_bytes=files.wal_bytes,
        )

    async def usage(self) -> Usage:
        return await self._run(usage(self._schema, Fingerprint.of(self._opening.path).bytes))

    async def threads(
        self, *, before: str | None = None, limit: int = 50, search: Search | None = None
    ) -> ThreadPage:
        return await self._run(threads.page(self._schema, search, before, limit))

    async def namespaces(self, thread_id: str) -> tuple[NamespaceRow, ...]:
        return await self._run(threads.namespaces(self._schema, thread_id))

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
        if branch:
            return await self._run(
                timeline.branch(self._schema, thread_id, ns, branch, before, around, limit)
            )
        return await self._run(timeline.page(self._schema, thread_id, ns, before, around, limit))

    async def checkpoint_row(self, thread_id: str, ns: str, checkpoint_id: str) -> CheckpointRow:
        return await self._run(timeline.checkpoint(thread_id, ns, checkpoint_id))

    async def tree(self, thread_id: str, ns: str) -> Tree:
        return await self._run(timeline.tree(thread_id, ns))

    async def siblings(
        self, thread_id: str, ns: str, checkpoint_ids: Sequence[str]
    ) -> tuple[CheckpointRow, ...]:
        return await self._run(timeline.several(thread_id, ns, checkpoint_ids))

    async def writes(self, thread_id: str, ns: str, checkpoint_id: str) -> tuple[WriteRow, ...]:
        return await self._run(timeline.writes_of(self._schema, thread_id, ns, checkpoint_id))

    async def head(self, thread_id: str, ns: str) -> str | None:
        return await self._run(SqliteForks(self._schema).head(thread_id, ns))

    async def belongings(self, thread_id: str, ns: str, checkpoint_id: str) -> tuple[Belongings, Sizes]:
        return await self._run(measured(SqliteForks(self._schema), thread_id, ns, checkpoint_id))

    @property
    def tables(self) -> tuple[str, ...]:
        return selection.tables(self._schema)

    async def existing(self, keys: Sequence[ThreadKey]) -> list[ThreadKey]:
        return await self._run(selection.existing(self._schema, keys))

    async def candidates(self, criteria: Criteria) -> list[ThreadKey]:
        return await self._run(selection.candidates(self._schema, criteria))

    async def narrowed(self, keys: Sequence[ThreadKey], criteria: Criteria) -> list[ThreadKey]:
        return await self._run(selection.narrowed(self._schema, keys, criteria))

    async def heads(self, keys: Sequence[ThreadKey]) -> list[Head]:
        return await self._run(selection.heads(self._schema, keys))

    async def held(self, keys: Sequence[ThreadKey]) -> list[tuple[ThreadKey, Held]]:
        return await self._run(selection.measured(self._schema, keys))

    async def write_refusal(self) -> str | None:
        return writing.refusal(self.location)

    async def change_probe(self) -> str:
        return str(await self._run(last_rows(self._schema)))

    async def _run(self, operation: Operation[T]) -> T:
        return await arun(self.conn, operation)


async def read(
    location: Location,
    question: Callable[[SqliteStore], Awaitable[T]],
    *,
    serde: InertSerializer | None = None,
    seconds: float | None = None,
) -> T:
    """Open the store, ask it the question, close it.

    The question may be asked again: a file that nobody seemed to have open is read without locks, and what
    was read is forgotten when somebody wrote meanwhile. Raises a StoreError that says what is wrong.
    """
    serde = serde or InertSerializer.from_environment()
    with named(location.name, seconds):
        for _ in range(ATTEMPTS):
            entrance = _Entrance(location, seconds)
            try:
                async with aiosqlite.Connection(entrance.connect, iter_chunk_size=64) as conn:
                    answer = await question(SqliteStore(location, conn, entrance.opened, serde))
            except (sqlite3.Error, StoreError):
                if not entrance.moved():
                    raise
            else:
                if not entrance.moved():
                    return answer
    raise StoreBusy(f"{location.name} is written too often to be read without locks.")


async def read_since(
    location: Location,
    mark: Hashable,
    question: Callable[[SqliteStore], Awaitable[T]],
    *,
    serde: InertSerializer | None = None,
) -> tuple[Hashable, T] | None:
    """Ask the question unless the files are as they were at the mark; return the next mark with the answer.

    The mark is None where the files changed a moment ago: their times move in ticks of some milliseconds,
    so what was read within one may miss its last write.
    """
    before = Fingerprint.of(location.path)
    if mark == before:
        return None
    answer = await read(location, question, serde=serde)
    rests = before.age_ns > SETTLED_NS and Fingerprint.of(location.path) == before
    return before if rests else None, answer


def check(location: Location) -> None:
    """Raise the StoreError that says why this store cannot be read, if it cannot."""
    with named(location.name), closing(connect(location).conn):
        pass


class _Entrance:
    """Connects on aiosqlite's thread, and keeps for this one what came of it."""

    def __init__(self, location: Location, seconds: float | None) -> None:
        self.location = location
        self.seconds = seconds
        self.outcome: Connected | sqlite3.Error | StoreError

    def connect(self) -> sqlite3.Connection:
        # Never fails: aiosqlite does not wait for the thread of a connection that did, and the loop may be
        # closed before the thread reports to it.
        try:
            self.outcome = connect(self.location, self.seconds)
        except (sqlite3.Error, StoreError) as error:
            self.outcome = error
            return sqlite3.connect(":memory:")
        return self.outcome.conn

    @property
    def opened(self) -> Connected:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def moved(self) -> bool:
        return isinstance(self.outcome, Connected) and self.outcome.opening.moved()
