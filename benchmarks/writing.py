"""Races of writes, each saver into a file of its own on disk, at the synchronous=FULL that savers leave."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSaver

from benchmarks import generator
from benchmarks.clock import medians
from benchmarks.race import LEAST, Pairing
from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.runnables import RunnableConfig

AGENTS, PUTS = 50, 4
THREADS, PUTS_OF_A_THREAD = 8, 25
ALONE = 100
METADATA = {"source": "loop", "step": 1, "parents": {}}
TASK_PATH = "~__pregel_pull, agent"
THREAD = "SELECT thread_id FROM checkpoints LIMIT 1"
TABLES = ("SELECT * FROM checkpoints ORDER BY 1, 2, 3", "SELECT * FROM writes ORDER BY 1, 2, 3, 4, idx")
ASYNC = {"ours": AsyncSqliteSaver, "official": OfficialAsyncSaver}
SYNC = {"ours": SqliteSaver, "official": OfficialSaver}

OURS = {"ours": AsyncSqliteSaver}

Thing = tuple[str, Any]  # a state and its id, or what a task wrote and the task's id
Job = tuple[str, list[Thing]]  # what an agent puts into its thread, one thing after another
Work = list[Job]
Maker = Callable[[random.Random], Work]
Writer = Callable[[Any, Work], Awaitable[Any]]


class Desk:
    """Where one class of saver writes: its file, the saver that has it open, and what it writes next."""

    def __init__(self, kind: Any, path: Path) -> None:
        self._kind, self._path = kind, path
        self._opened = AsyncExitStack()
        self.saver: Any = None
        self.chance = random.Random(42)
        self.work: Work = []

    async def open(self, source: Path | None) -> None:
        """Open the file, if it is not open; with a source, always a new copy of that."""
        if source:
            await self.close()
            shutil.copy(source, self._path)
            with self._path.open("rb") as file:
                os.fsync(file.fileno())
        if not self.saver:
            opened = self._kind.from_conn_string(str(self._path))
            if isinstance(opened, AbstractAsyncContextManager):
                self.saver = await self._opened.enter_async_context(opened)
                await self.saver.setup()
            else:
                self.saver = self._opened.enter_context(opened)
                self.saver.setup()

    async def close(self) -> None:
        """Close the file, if it is open."""
        self.saver = None
        await self._opened.aclose()

    def rows(self) -> list[Any]:
        """Return all that the file holds."""
        with closing(sqlite3.connect(self._path)) as conn:
            return [conn.execute(table).fetchall() for table in TABLES]


@dataclass(frozen=True, slots=True)
class Writing:
    """A race of writers. What each writes next is made before its turn, and the same for all."""

    pairings: list[Pairing]
    folder: Path
    write: Writer
    make: Maker
    rounds: int = LEAST
    calls: int = 1
    kinds: dict[str, Any] = field(default_factory=ASYNC.copy)
    source: Path | None = None  # each turn starts with a new copy of this file

    async def run(self) -> dict[str, float]:
        """Return the median milliseconds of a call by each."""
        folder = self.folder / str(uuid.uuid4())
        folder.mkdir()
        desks = {name: Desk(kind, folder / f"{name}.sqlite") for name, kind in self.kinds.items()}

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
            shutil.rmtree(folder)
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


def races(rounds: int, folder: Path) -> list[Writing]:
    """Return the races, whose files are in the folder."""

    def puts(
        name: str,
        target: str,
        write: Writer,
        things: list[Any],
        agents: int = AGENTS,
        each: int = PUTS,
        kinds: dict[str, Any] = ASYNC,
    ) -> Writing:
        make = partial(_work, agents, each, things)
        return Writing([Pairing(name, target)], folder, write, make, rounds, agents * each, kinds)

    def change(name: str, target: str, write: Writer, kinds: dict[str, Any]) -> Writing:
        source = generator.light_thread()
        return Writing([Pairing(name, target)], folder, write, _nothing, kinds=kinds, source=source)

    chance = random.Random(42)
    small, medium = (generator.states(chance, size, 50) for size in (generator.SMALL, generator.MEDIUM))
    answers = [state["channel_values"]["messages"][-1:] for state in small]
    return [
        puts("aput, 50 coroutines, 10 KB", ">= 3.5 x", _aput, medium),
        puts("aput, 50 coroutines, 1 KB", ">= 3.5 x", _aput, small),
        puts("aput_writes, 50 coroutines", ">= 9 x", _aput_writes, answers),
        puts("aput, one after another, 10 KB", ">= 1.15 x", _aput, medium, 1, ALONE),
        puts("aput, one after another, 1 KB", ">= 1.15 x", _aput, small, 1, ALONE),
        puts("aput_writes, one after another", ">= 1.15 x", _aput_writes, answers, 1, ALONE),
        puts("put, 8 threads, 10 KB", "", _put, medium, THREADS, PUTS_OF_A_THREAD, SYNC),
        change("adelete_thread, 20,000 checkpoints, 1 KB", ">= 1 x", _delete, ASYNC),
        change("acopy_thread, 20,000 checkpoints, 1 KB", "", _copy, OURS),
        change("aprune to the latest, 20,000 checkpoints, 1 KB", "", _prune, OURS),
    ]


def fsync_time(folder: Path) -> float:
    """Return the median milliseconds of an fsync after 4 KB are overwritten, as in a WAL that is in use."""
    taken = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(25):
            file.seek(0)
            file.write(bytes(4096))
            file.flush()
            began = perf_counter()
            os.fsync(file.fileno())
            taken.append(perf_counter() - began)
    return median(taken) * 1000


def _work(agents: int, each: int, things: list[Any], chance: random.Random) -> Work:
    return [
        (_uuid(chance), [(_uuid(chance), chance.choice(things)) for _ in range(each)]) for _ in range(agents)
    ]


def _nothing(chance: random.Random) -> Work:
    return []


async def _aput(saver: Any, work: Work) -> None:
    async def agent(thread_id: str, states: list[Thing]) -> None:
        config = _config(thread_id)
        for checkpoint_id, state in states:
            config = await saver.aput(config, {**state, "id": checkpoint_id}, METADATA, {})

    await asyncio.gather(*(agent(*job) for job in work))


async def _put(saver: Any, work: Work) -> None:
    def agent(job: Job) -> None:
        thread_id, states = job
        config = _config(thread_id)
        for checkpoint_id, state in states:
            config = saver.put(config, {**state, "id": checkpoint_id}, METADATA, {})

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
    await saver.adelete_thread(await _thread(saver))


async def _copy(saver: Any, work: Work) -> None:
    await saver.acopy_thread(await _thread(saver), "copy")


async def _prune(saver: Any, work: Work) -> None:
    await saver.aprune([await _thread(saver)], strategy="keep_latest")


async def _thread(saver: Any) -> str:
    async with saver.conn.execute(THREAD) as cursor:
        return str((await cursor.fetchone())[0])


def _config(thread_id: str, **parts: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **parts}}


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))
