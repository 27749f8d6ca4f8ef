"""Races of writes, each saver into a file of its own on disk, at the synchronous=FULL that savers leave."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import uuid
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSaver

from benchmarks import generator
from benchmarks.race import Pairing
from benchmarks.work import (
    AGENTS,
    PUTS,
    PUTS_OF_A_THREAD,
    THREADS,
    Desk,
    Thing,
    Work,
    Writer,
    Writing,
    aput,
    aput_writes,
    jobs,
    nothing,
    put,
)
from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALONE = 100
THREAD = "SELECT thread_id FROM checkpoints LIMIT 1"
TABLES = ("SELECT * FROM checkpoints ORDER BY 1, 2, 3", "SELECT * FROM writes ORDER BY 1, 2, 3, 4, idx")
ASYNC = {"ours": AsyncSqliteSaver, "official": OfficialAsyncSaver}
SYNC = {"ours": SqliteSaver, "official": OfficialSaver}

OURS = {"ours": AsyncSqliteSaver}


class File(Desk):
    """A file for one class of saver."""

    def __init__(self, kind: Any, path: Path) -> None:
        super().__init__()
        self._kind, self._path = kind, path

    async def open(self, source: Path | None) -> None:
        if source:
            await self.close()
            shutil.copy(source, self._path)
            with self._path.open("rb") as file:
                os.fsync(file.fileno())
        if not self.saver:
            opened = self._kind.from_conn_string(str(self._path))
            await self._enter(opened)
            if isinstance(opened, AbstractAsyncContextManager):
                await self.saver.setup()
            else:
                self.saver.setup()

    def rows(self) -> list[Any]:
        with closing(sqlite3.connect(self._path)) as conn:
            return [conn.execute(table).fetchall() for table in TABLES]


@contextmanager
def files(folder: Path, kinds: dict[str, Any]) -> Iterator[dict[str, File]]:
    """Give each class of saver a file, for as long as the block lasts."""
    own = folder / str(uuid.uuid4())
    own.mkdir()
    try:
        yield {name: File(kind, own / f"{name}.sqlite") for name, kind in kinds.items()}
    finally:
        shutil.rmtree(own)


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
        make, desks = partial(jobs, agents, each, things), partial(files, folder, kinds)
        return Writing([Pairing(name, target)], desks, write, make, rounds, agents * each)

    def change(name: str, target: str, write: Writer, kinds: dict[str, Any]) -> Writing:
        source, desks = generator.light_thread(), partial(files, folder, kinds)
        return Writing([Pairing(name, target)], desks, write, nothing, source=source)

    chance = random.Random(42)
    small, medium = (generator.states(chance, size, 50) for size in (generator.SMALL, generator.MEDIUM))
    answers = [state["channel_values"]["messages"][-1:] for state in small]
    return [
        puts("aput, 50 coroutines, 10 KB", ">= 3.5 x", partial(aput, _steps), medium),
        puts("aput, 50 coroutines, 1 KB", ">= 3.5 x", partial(aput, _steps), small),
        puts("aput_writes, 50 coroutines", ">= 9 x", aput_writes, answers),
        puts("aput, one after another, 10 KB", ">= 1.15 x", partial(aput, _steps), medium, 1, ALONE),
        puts("aput, one after another, 1 KB", ">= 1.15 x", partial(aput, _steps), small, 1, ALONE),
        puts("aput_writes, one after another", ">= 1.15 x", aput_writes, answers, 1, ALONE),
        puts("put, 8 threads, 10 KB", "", partial(put, _steps), medium, THREADS, PUTS_OF_A_THREAD, SYNC),
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


def _steps(states: list[Thing]) -> Iterator[tuple[Any, dict[str, str]]]:
    """Yield checkpoints. In a file their versions do not matter."""
    for checkpoint_id, state in states:
        yield {**state, "id": checkpoint_id}, {}


async def _delete(saver: Any, work: Work) -> None:
    await saver.adelete_thread(await _thread(saver))


async def _copy(saver: Any, work: Work) -> None:
    await saver.acopy_thread(await _thread(saver), "copy")


async def _prune(saver: Any, work: Work) -> None:
    await saver.aprune([await _thread(saver)], strategy="keep_latest")


async def _thread(saver: Any) -> str:
    async with saver.conn.execute(THREAD) as cursor:
        return str((await cursor.fetchone())[0])
