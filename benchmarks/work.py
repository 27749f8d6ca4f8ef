"""Races of writers: each saver has a desk where it writes what all others write too."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.clock import medians
from benchmarks.race import LEAST, Pairing

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

AGENTS, PUTS = 50, 4
THREADS, PUTS_OF_A_THREAD = 8, 25
METADATA = {"source": "loop", "step": 1, "parents": {}}
TASK_PATH = "~__pregel_pull, agent"

Thing = tuple[str, Any]  # a state and its id, or what a task wrote and the task's id
Job = tuple[str, list[Thing]]  # what an agent puts into its thread, one thing after another
Work = list[Job]
Maker = Callable[[random.Random], Work]
Writer = Callable[[Any, Work], Awaitable[Any]]
Steps = Callable[[list[Thing]], Iterable[tuple[Any, dict[str, str]]]]  # checkpoints and their new versions


class Desk:
    """Where one saver writes: the saver, when it is open, and what it writes next."""

    def __init__(self) -> None:
        self._opened = AsyncExitStack()
        self.saver: Any = None
        self.chance = random.Random(42)
        self.work: Work = []

    async def open(self, source: Any) -> None:
        """Open the store, if it is not open; with a source, always a new copy of that."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the store, if it is open."""
        self.saver = None
        await self._opened.aclose()

    def rows(self) -> list[Any]:
        """Return all that the store holds."""
        raise NotImplementedError

    async def _enter(self, opened: Any) -> None:
        if isinstance(opened, AbstractAsyncContextManager):
            self.saver = await self._opened.enter_async_context(opened)
        else:
            self.saver = self._opened.enter_context(opened)


@dataclass(frozen=True, slots=True)
class Writing:
    """A race of writers. What each writes next is made before its turn, and the same for all."""

    pairings: list[Pairing]
    desks: Callable[[], AbstractContextManager[dict[str, Any]]]  # by the savers' names
    write: Writer
    make: Maker
    rounds: int = LEAST
    calls: int = 1
    source: Any = None  # each turn starts with a new copy of this store

    async def run(self) -> dict[str, float]:
        """Return the median milliseconds of a call by each."""
        with self.desks() as desks:

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


def jobs(agents: int, each: int, things: list[Any], chance: random.Random) -> Work:
    """Return as many jobs as agents, each of so many things."""
    return [
        (_uuid(chance), [(_uuid(chance), chance.choice(things)) for _ in range(each)]) for _ in range(agents)
    ]


def nothing(chance: random.Random) -> Work:
    """Return no work: what changes a store as it is needs none."""
    return []


async def aput(steps: Steps, saver: Any, work: Work) -> None:
    """Put the states of all jobs at once, those of one job one after another."""

    async def agent(thread_id: str, states: list[Thing]) -> None:
        config = _config(thread_id)
        for checkpoint, versions in steps(states):
            config = await saver.aput(config, checkpoint, METADATA, versions)

    await asyncio.gather(*(agent(*job) for job in work))


async def put(steps: Steps, saver: Any, work: Work) -> None:
    """Do the same with the synchronous method, each job on a thread of its own."""

    def agent(job: Job) -> None:
        thread_id, states = job
        config = _config(thread_id)
        for checkpoint, versions in steps(states):
            config = saver.put(config, checkpoint, METADATA, versions)

    with ThreadPoolExecutor(len(work)) as pool:
        list(pool.map(agent, work))


async def aput_writes(saver: Any, work: Work) -> None:
    """Put the answers of all jobs at once, as writes of tasks."""

    async def agent(thread_id: str, answers: list[Thing]) -> None:
        config = _config(thread_id, checkpoint_id=thread_id)
        for task_id, answer in answers:
            writes = [("messages", answer), ("branch:to:agent", None)]
            await saver.aput_writes(config, writes, task_id, TASK_PATH)

    await asyncio.gather(*(agent(*job) for job in work))


def _config(thread_id: str, **parts: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **parts}}


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
