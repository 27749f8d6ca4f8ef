"""Races of reads: of short threads and of a long one among them, on connections, pools and in pipelines."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any

from benchmarks import generator
from benchmarks.postgres import databases, savers
from benchmarks.race import LEAST, Pairing
from benchmarks.reading import Reader, Reading

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from benchmarks.postgres.databases import Database

LOOKUPS, LISTINGS = 10, 10  # calls in a turn, each of another checkpoint
AGENTS = 50  # coroutines that look up at once
TURNS = 4  # of those that look up one by one, in a round
ACTIVE = 200  # threads, or checkpoints of a long one, that take part
DRAWS = 8  # then they come again
LIMIT = 50
ANCESTORS = 500

Configs = "list[RunnableConfig]"
Ask = Callable[[Any, Any], AsyncIterator[Any]]  # a saver and configs -> what it finds


@dataclass(frozen=True, slots=True)
class Questions:
    """A race of savers that are opened for it, and asked for the same in the same order."""

    pairings: list[Pairing]
    database: Database
    ask: Ask
    draws: list[Any]  # lists of configs, by turns
    rounds: int = LEAST
    openers: dict[str, Any] = field(default_factory=savers.ON_CONNECTION.copy)

    async def run(self) -> dict[str, float]:
        """Return the median milliseconds of a call by each."""
        async with AsyncExitStack() as stack:
            readers = {name: await self._reader(opener, stack) for name, opener in self.openers.items()}
            return await Reading(self.pairings, readers, self.rounds, len(self.draws[0])).run()

    async def _reader(self, opener: Callable[[str], Any], stack: AsyncExitStack) -> Reader:
        opened = opener(self.database.url)
        if isinstance(opened, AbstractAsyncContextManager):
            saver = await stack.enter_async_context(opened)
        else:
            saver = stack.enter_context(opened)
        draws = cycle(self.draws)
        return lambda: self.ask(saver, next(draws))


def races(rounds: int, server: str) -> list[Questions]:
    """Return the races, on databases of this server."""
    short = databases.stored(server, "short", databases.SHORT)
    many = databases.stored(server, "many", databases.MANY)
    new = databases.stored(server, "new", databases.NEW, analyzed=False)
    places = {
        "200 threads x 20, 10 KB": (short, short.threads()),
        "50,000 threads x 20, 1 KB": (many, random.Random(42).sample(many.threads(), ACTIVE)),
        "1 thread x 20,000, 1 KB": (many, many.threads(1)),
        "1 thread x 20,000, 10 KB": (many, many.threads(2)),
    }
    fresh = "1 thread x 20,000, 1 KB, no statistics yet", new, new.threads(1)
    return [
        *(race for name, place in places.items() for race in _lookups(name, *place, rounds)),
        _lookups(*fresh, LEAST)[0],
        *(race for name, place in places.items() for race in _listings(name, *place, rounds)),
        _listings(*fresh, LEAST)[0],
        *_searches(many),
        *_whole(short),
        _history(databases.delta(server, ANCESTORS + 4), rounds),
    ]


def _lookups(name: str, database: Database, threads: list[str], rounds: int) -> list[Questions]:
    chance = random.Random(42)
    few = chance.sample(threads, min(len(threads), 20))
    ids = [_config(thread, checkpoint_id=id) for thread in few for id in database.ids(thread)]
    heads, many = (
        [[_config(thread) for thread in chance.choices(threads, k=count)] for _ in range(DRAWS)]
        for count in (LOOKUPS, AGENTS)
    )
    by_id = [chance.choices(chance.sample(ids, ACTIVE), k=LOOKUPS) for _ in range(DRAWS)]

    def race(prefix: str, draws: list[Any], ask: Ask = _one_by_one, **options: Any) -> Questions:
        pairing = Pairing(f"{prefix}, {name}", ">= 1 x")
        turns = rounds if draws is many else rounds * TURNS
        return Questions([pairing], database, ask, draws, turns, **options)

    return [
        race("aget_tuple", heads),
        race("aget_tuple by id", by_id),
        race(f"aget_tuple, {AGENTS} coroutines on a pool", many, _at_once, openers=savers.ON_POOL),
        race("aget_tuple in a pipeline", heads, openers=savers.IN_PIPELINE),
        race("get_tuple", heads, _in_turn, openers=savers.SYNC_ON_CONNECTION),
    ]


def _listings(name: str, database: Database, threads: list[str], rounds: int) -> list[Questions]:
    chance = random.Random(42)
    calls = min(LISTINGS, len(threads))
    draws = [[_config(thread) for thread in chance.sample(threads, calls)] for _ in range(DRAWS)]
    target = ">= 2 x"
    if calls == 1:  # a long thread
        rounds, target = LEAST, ">= 50 x"

    async def pages(saver: Any, configs: list[RunnableConfig]) -> AsyncIterator[Any]:
        for config in configs:
            async for found in saver.alist(config, limit=LIMIT):
                yield found

    async def pages_sync(saver: Any, configs: list[RunnableConfig]) -> AsyncIterator[Any]:
        for config in configs:
            for found in saver.list(config, limit=LIMIT):
                yield found

    def race(method: str, ask: Ask, openers: dict[str, Any], target: str = target) -> Questions:
        pairing = Pairing(f"{method}(limit={LIMIT}), {name}", target)
        return Questions([pairing], database, ask, draws, rounds, openers)

    return [
        race("alist", pages, savers.ON_CONNECTION),
        race("list", pages_sync, savers.SYNC_ON_CONNECTION, ">= 1 x"),
    ]


def _searches(database: Database) -> list[Questions]:
    [thread] = database.threads(1)
    before = _config(thread, checkpoint_id=database.ids(thread)[10_000])

    def race(name: str, config: RunnableConfig | None, target: str = ">= 1 x", **options: Any) -> Questions:
        async def found(saver: Any, configs: list[RunnableConfig | None]) -> AsyncIterator[Any]:
            async for one in saver.alist(configs[0], limit=LIMIT, **options):
                yield one

        return Questions([Pairing(name, target)], database, found, [[config]])

    return [
        race("alist(limit=50), all namespaces, 20,000", {"configurable": {"thread_id": thread}}),
        race("alist(before=…, limit=50), 20,000", _config(thread), ">= 50 x", before=before),
        race("alist(filter=…, limit=50), one of 20,000", _config(thread), filter={"step": 1_000}),
        race("alist(None, limit=50), 50,000 threads", None),
        race("alist(None, filter=…, limit=50), 50,000 threads", None, filter={"user_id": "user-7"}),
    ]


def _whole(database: Database) -> list[Questions]:
    draws = [[_config(thread) for thread in database.threads(1)]]

    async def thread(saver: Any, configs: list[RunnableConfig]) -> AsyncIterator[Any]:
        async for found in saver.alist(configs[0]):
            yield found

    async def thread_sync(saver: Any, configs: list[RunnableConfig]) -> AsyncIterator[Any]:
        for found in saver.list(configs[0]):
            yield found

    def race(name: str, ask: Ask, openers: dict[str, Any]) -> Questions:
        return Questions([Pairing(name, ">= 1 x")], database, ask, draws, openers=openers)

    return [
        race("alist, 2,000 of 10 KB", thread, savers.ON_CONNECTION),
        race("list, 2,000 of 10 KB", thread_sync, savers.SYNC_ON_CONNECTION),
    ]


def _history(database: Database, rounds: int) -> Questions:
    ids = database.ids(databases.TEMPLATE)
    draws = [[_config(databases.TEMPLATE, checkpoint_id=ids[ANCESTORS])]]

    async def history(saver: Any, configs: list[RunnableConfig]) -> AsyncIterator[Any]:
        found = await saver.aget_delta_channel_history(config=configs[0], channels=[generator.DELTA])
        assert len(found[generator.DELTA]["writes"]) == ANCESTORS
        yield found

    pairing = Pairing(f"delta history, {ANCESTORS} ancestors", ">= 1 x")
    return Questions([pairing], database, history, draws, rounds)


async def _one_by_one(saver: Any, configs: list[RunnableConfig]) -> AsyncIterator[Any]:
    for config in configs:
        yield await saver.aget_tuple(config)


async def _at_once(saver: Any, configs: list[RunnableConfig]) -> AsyncIterator[Any]:
    for found in await asyncio.gather(*map(saver.aget_tuple, configs)):
        yield found


async def _in_turn(saver: Any, configs: list[RunnableConfig]) -> AsyncIterator[Any]:
    for config in configs:
        yield saver.get_tuple(config)


def _config(thread_id: str, **parts: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **parts}}
