"""Races of writes, each saver into a database of its own. The server waits for the disk at each commit."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks import generator
from benchmarks.clock import medians
from benchmarks.postgres import databases, savers, servers
from benchmarks.race import LEAST, Pairing

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

AGENTS, PUTS = 50, 4
THREADS, PUTS_OF_A_THREAD = 8, 25
TURNS = 4  # of one that writes alone, in a round
ALONE = 5  # short turns, so that a busy moment of the disk hits all
SIZES = {"1 KB": generator.SMALL, "10 KB": generator.MEDIUM, "100 KB": (100, 32)}
METADATA = {"source": "loop", "step": 1, "parents": {}}
TASK_PATH = "~__pregel_pull, agent"
TABLES = tuple(
    f"SELECT * FROM {table} ORDER BY {key}"
    for table, key in (
        ("checkpoints", "thread_id, checkpoint_ns, checkpoint_id"),
        ("checkpoint_blobs", "thread_id, checkpoint_ns, channel, version"),
        ("checkpoint_writes", "thread_id, checkpoint_ns, checkpoint_id, task_id, idx"),
    )
)

ONLY = databases.LIGHT[0].ids(0)[0]

Thing = tuple[str, Any]  # a state and its id, or what a task wrote and the task's id
Job = tuple[str, list[Thing]]  # what an agent puts into its thread, one thing after another
Work = list[Job]
Maker = Callable[[random.Random], Work]
Writer = Callable[[Any, Work], Awaitable[Any]]


class Desk:
    """Where one saver writes: its database, the saver that has it open, and what it writes next."""

    def __init__(self, opener: Callable[[str], Any], server: str, name: str) -> None:
        self._opener, self._server, self._name = opener, server, name
        self._opened = AsyncExitStack()
        self.url = databases.url_of(server, name)
        self.saver: Any = None
        self.chance = random.Random(42)
        self.work: Work = []

    async def open(self, source: str | None) -> None:
        """Open the database, if it is not open; with a source, always a new copy of that."""
        if source:
            await self.close()
        if self.saver:
            return
        servers.create(self._server, self._name, source)
        databases.set_up(self.url)
        opened = self._opener(self.url)
        if isinstance(opened, AbstractAsyncContextManager):
            self.saver = await self._opened.enter_async_context(opened)
        else:
            self.saver = self._opened.enter_context(opened)

    async def close(self) -> None:
        """Close the database, if it is open, and drop it."""
        if self.saver:
            self.saver = None
            await self._opened.aclose()
            servers.drop(self._server, self._name)

    def rows(self) -> list[Any]:
        """Return all that the database holds."""
        with psycopg.connect(self.url) as conn:
            return [conn.execute(table).fetchall() for table in TABLES]


@dataclass(frozen=True, slots=True)
class Writing:
    """A race of writers. What each writes next is made before its turn, and the same for all."""

    pairings: list[Pairing]
    server: str
    openers: dict[str, Callable[[str], Any]]
    write: Writer
    make: Maker
    rounds: int = LEAST
    calls: int = 1
    source: str | None = None  # each turn starts with a new copy of this database

    async def run(self) -> dict[str, float]:
        """Return the median milliseconds of a call by each."""
        desks = {
            name: Desk(opener, self.server, f"benchmark_writes_{name}")
            for name, opener in self.openers.items()
        }

        async def prepare(name: str) -> None:
            await desks[name].open(self.source)
            desks[name].work = self.make(desks[name].chance)

        try:
            for name in desks:
                await prepare(name)
            await self._compare(list(desks.values()))
            calls = {name: partial(self._turn, desk) for name, desk in desks.items()}
            taken = await medians(calls, self.rounds, prepare)
        finally:
            for desk in desks.values():
                await desk.close()
        return {name: milliseconds / self.calls for name, milliseconds in taken.items()}

    async def _compare(self, desks: list[Desk]) -> None:
        before = desks[0].rows()
        for desk in desks:
            await self._turn(desk)
        first, *others = (desk.rows() for desk in desks)
        assert first != before
        for rows in others:
            assert rows == first

    async def _turn(self, desk: Desk) -> None:
        await self.write(desk.saver, desk.work)


def races(rounds: int, server: str) -> list[Writing]:
    """Return the races, on databases of this server."""
    chance = random.Random(42)
    states = {name: generator.states(chance, size, 20) for name, size in SIZES.items()}
    answers = {name: [state["channel_values"]["messages"] for state in states[name]] for name in SIZES}

    def puts(
        name: str, write: Writer, things: list[Any], openers: Any, agents: int = 1, each: int = ALONE
    ) -> Writing:
        make = partial(_work, agents, each, things)
        turns = rounds * (TURNS if agents == 1 else 1)
        return Writing([Pairing(name, ">= 1 x")], server, openers, write, make, turns, agents * each)

    def ways(method: str, write: Writer, things: dict[str, list[Any]]) -> list[Writing]:
        agents = {"agents": AGENTS, "each": PUTS}
        return [
            puts(f"{method}{way}, {size}", write, things[size], openers, **many)
            for way, openers, many in (
                ("", savers.ON_CONNECTION, {}),
                (f", {AGENTS} coroutines on a pool", savers.ON_POOL, agents),
                (" in a pipeline", savers.IN_PIPELINE, {}),
                (f" in a pipeline, {AGENTS} coroutines", savers.IN_PIPELINE, agents),
            )
            for size in things
        ]

    def change(name: str, write: Writer, openers: Any, target: str = "") -> Writing:
        source = databases.stored(server, "light", databases.LIGHT).name
        return Writing([Pairing(name, target)], server, openers, write, _nothing, source=source)

    threads = {"agents": THREADS, "each": PUTS_OF_A_THREAD}
    return [
        *ways("aput", _aput, states),
        *ways("aput_writes", _aput_writes, {size: answers[size] for size in ("1 KB", "10 KB")}),
        puts("put, 10 KB", _put, states["10 KB"], savers.SYNC_ON_CONNECTION),
        puts("put, 8 threads on a pool, 10 KB", _put, states["10 KB"], savers.SYNC_ON_POOL, **threads),
        change("adelete_thread, 20,000 checkpoints, 1 KB", _delete, savers.ON_CONNECTION, ">= 1 x"),
        change("aprune to the latest, 20,000 checkpoints, 1 KB", _prune, savers.ON_CONNECTION, ">= 1 x"),
        change("acopy_thread, 20,000 checkpoints, 1 KB", _copy, savers.OURS_ON_CONNECTION),
    ]


def _work(agents: int, each: int, things: list[Any], chance: random.Random) -> Work:
    return [
        (_uuid(chance), [(_uuid(chance), chance.choice(things)) for _ in range(each)]) for _ in range(agents)
    ]


def _nothing(chance: random.Random) -> Work:
    return []


def _checkpoints(states: list[Thing]) -> list[tuple[Any, dict[str, str]]]:
    """Return checkpoints and the versions that are new in each, as a graph's steps have them."""
    found = []
    for number, (checkpoint_id, state) in enumerate(states, 1):
        checkpoint = {**databases.version(state, number), "id": checkpoint_id}
        found.append((checkpoint, {"messages": checkpoint["channel_versions"]["messages"]}))
    return found


async def _aput(saver: Any, work: Work) -> None:
    async def agent(thread_id: str, states: list[Thing]) -> None:
        config = _config(thread_id)
        for checkpoint, versions in _checkpoints(states):
            config = await saver.aput(config, checkpoint, METADATA, versions)

    await asyncio.gather(*(agent(*job) for job in work))


async def _put(saver: Any, work: Work) -> None:
    def agent(job: Job) -> None:
        thread_id, states = job
        config = _config(thread_id)
        for checkpoint, versions in _checkpoints(states):
            config = saver.put(config, checkpoint, METADATA, versions)

    with ThreadPoolExecutor(len(work)) as pool:
        list(pool.map(agent, work))


async def _aput_writes(saver: Any, work: Work) -> None:
    async def agent(thread_id: str, answers: list[Thing]) -> None:
        config = _config(thread_id, checkpoint_id=thread_id)
        for task_id, answer in answers:
            writes = [("messages", answer), ("branch:to:agent", None)]
            await saver.aput_writes(config, writes, task_id, TASK_PATH)

    await asyncio.gather(*(agent(*job) for job in work))


async def _delete(saver: Any, work: Work) -> None:
    await saver.adelete_thread(ONLY)


async def _prune(saver: Any, work: Work) -> None:
    await saver.aprune([ONLY], strategy="keep_latest")


async def _copy(saver: Any, work: Work) -> None:
    await saver.acopy_thread(ONLY, "copy")


def _config(thread_id: str, **parts: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **parts}}


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
