"""Races of reads: on short, small, deep and light threads, and of a DeltaChannel's history."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSaver

from benchmarks import generator
from benchmarks.clock import medians
from benchmarks.race import LEAST, Pairing
from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import CheckpointTuple

LOOKUPS, LISTINGS = 50, 10  # calls in a round, each of another thread
ACTIVE = 300  # threads that take part
LIMIT = 50
ANCESTORS = 500
THREADS = "SELECT DISTINCT thread_id FROM checkpoints ORDER BY thread_id"
BY_AGE = "SELECT checkpoint_id FROM checkpoints ORDER BY checkpoint_id"

AsyncSaver = AsyncSqliteSaver | OfficialAsyncSaver
SyncSaver = SqliteSaver | OfficialSaver
Reader = Callable[[], AsyncIterator[Any]]


@dataclass(frozen=True, slots=True)
class Readers:
    """A store and the savers that read it."""

    path: Path
    ours: AsyncSqliteSaver
    official: OfficialAsyncSaver
    ours_sync: SqliteSaver
    official_sync: OfficialSaver

    @classmethod
    async def open(cls, path: Path, stack: AsyncExitStack) -> Readers:
        """Open the store four times, until the stack ends."""
        return cls(
            path,
            await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(path))),
            await stack.enter_async_context(OfficialAsyncSaver.from_conn_string(str(path))),
            stack.enter_context(SqliteSaver.from_conn_string(str(path))),
            stack.enter_context(OfficialSaver.from_conn_string(str(path))),
        )

    def both(self, reader: Callable[[AsyncSaver], Reader]) -> dict[str, Reader]:
        """Return the reader that is made for each asynchronous saver."""
        return {"ours": reader(self.ours), "official": reader(self.official)}

    def ask(self, sql: str) -> list[str]:
        """Return the first column that a query finds."""
        with closing(sqlite3.connect(self.path)) as conn:
            return [row[0] for row in conn.execute(sql)]

    def draws(self, count: int) -> Callable[[], list[RunnableConfig]]:
        """Return a function that draws other threads each time, the same ones as every such function does.

        Some hundred threads, so that the system has their pages in memory: savers are measured, not the disk.
        """
        chance = random.Random(42)
        ids = chance.choices(self.ask(THREADS), k=ACTIVE)
        return lambda: [_namespace(thread_id) for thread_id in chance.choices(ids, k=count)]


@dataclass(frozen=True, slots=True)
class Reading:
    """A race of readers. Each yields what its saver finds; called again it may ask for something else."""

    pairings: list[Pairing]
    readers: dict[str, Reader]
    rounds: int = LEAST
    calls: int = 1  # of the saver, each time

    async def run(self) -> dict[str, float]:
        """Return the median milliseconds of a call by each."""
        await self._compare()
        calls = {name: partial(_exhaust, reader) for name, reader in self.readers.items()}
        taken = await medians(calls, self.rounds)
        return {name: milliseconds / self.calls for name, milliseconds in taken.items()}

    async def _compare(self) -> None:
        first, *others = (reader() for reader in self.readers.values())
        count = 0
        async for expected in first:
            count += 1
            for other in others:
                assert await anext(other) == expected
        assert count
        for other in others:
            assert await anext(other, None) is None


async def races(rounds: int, stack: AsyncExitStack) -> list[Reading]:
    """Return the races, on stores that stay open until the stack ends."""
    short = await Readers.open(generator.threads("short-threads", 200 * [20], generator.MEDIUM), stack)
    many = await Readers.open(generator.store(1_000_000), stack)
    deep = await Readers.open(generator.deep_thread(), stack)
    light = await Readers.open(generator.light_thread(), stack)
    delta = await Readers.open(
        generator.threads("delta-thread", [ANCESTORS + 4], generator.MEDIUM, delta=True), stack
    )
    return [
        _lookups(Pairing("aget_tuple, 200 threads, 10 KB", ">= 1.5 x"), short, rounds),
        _lookups(Pairing("aget_tuple, 50,000 threads, 1 KB", ">= 2.5 x"), many, rounds),
        _listings(Pairing("alist(limit=50), 200 threads x 20, 10 KB", ">= 2.5 x"), short, rounds),
        _listings(Pairing("alist(limit=50), 50,000 threads x 20, 1 KB", ">= 4 x"), many, rounds),
        _listings(Pairing("alist(limit=50), 1 thread x 20,000, 50 KB", ">= 1.15 x"), deep, rounds),
        _newest(Pairing("alist(None, limit=50), 50,000 threads x 20, 1 KB", ">= 20 x"), many),
        _history(Pairing(f"delta history, {ANCESTORS} ancestors, 10 KB", ">= 5 x"), delta, rounds),
        _whole("20,000 of 1 KB", "", light),
        _whole("20,000 of 50 KB", ">= 1.3 x", deep),
    ]


def _lookups(pairing: Pairing, stores: Readers, rounds: int) -> Reading:
    def reader(saver: AsyncSaver) -> Reader:
        draw = stores.draws(LOOKUPS)

        async def heads() -> AsyncIterator[CheckpointTuple | None]:
            for config in draw():
                yield await saver.aget_tuple(config)

        return heads

    return Reading([pairing], stores.both(reader), rounds, LOOKUPS)


def _listings(pairing: Pairing, stores: Readers, rounds: int) -> Reading:
    def reader(saver: AsyncSaver) -> Reader:
        draw = stores.draws(LISTINGS)

        async def pages() -> AsyncIterator[CheckpointTuple]:
            for config in draw():
                async for found in saver.alist(config, limit=LIMIT):
                    yield found

        return pages

    return Reading([pairing], stores.both(reader), rounds, LISTINGS)


def _newest(pairing: Pairing, stores: Readers) -> Reading:
    return Reading([pairing], stores.both(lambda saver: partial(saver.alist, None, limit=LIMIT)))


def _history(pairing: Pairing, stores: Readers, rounds: int) -> Reading:
    config = _namespace(stores.ask(THREADS)[0])
    config["configurable"]["checkpoint_id"] = stores.ask(BY_AGE)[ANCESTORS]

    def reader(saver: AsyncSaver) -> Reader:
        async def history() -> AsyncIterator[Any]:
            found = await saver.aget_delta_channel_history(config=config, channels=[generator.DELTA])
            assert len(found[generator.DELTA]["writes"]) == ANCESTORS
            yield found

        return history

    return Reading([pairing], stores.both(reader), rounds)


def _whole(size: str, target: str, stores: Readers) -> Reading:
    config = _namespace(stores.ask(THREADS)[0])

    def reader(saver: SyncSaver) -> Reader:
        async def thread() -> AsyncIterator[CheckpointTuple]:
            for found in saver.list(config):
                yield found

        return thread

    readers: dict[str, Reader] = {
        **stores.both(lambda saver: partial(saver.alist, config)),
        "our sync": reader(stores.ours_sync),
        "official sync": reader(stores.official_sync),
    }
    pairings = [
        Pairing(f"alist, {size}", target),
        Pairing(f"alist, {size}, against the sync list", ">= 1 x", official="official sync"),
        Pairing(f"sync list, {size}", ">= 1 x", ours="our sync", official="official sync"),
    ]
    return Reading(pairings, readers)


def _namespace(thread_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


async def _exhaust(reader: Reader) -> None:
    async for _ in reader():
        pass
