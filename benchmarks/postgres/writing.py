"""Races of writes, each saver into a database of its own. The server waits for the disk at each commit."""

from __future__ import annotations

import random
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks import generator
from benchmarks.postgres import databases, savers, servers
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

if TYPE_CHECKING:
    from collections.abc import Callable

TURNS = 4  # of one that writes alone, in a round
ALONE = 5  # short turns, so that a busy moment of the disk hits all
SIZES = {"1 KB": generator.SMALL, "10 KB": generator.MEDIUM, "100 KB": (100, 32)}
TABLES = tuple(
    f"SELECT * FROM {table} ORDER BY {key}"
    for table, key in (
        ("checkpoints", "thread_id, checkpoint_ns, checkpoint_id"),
        ("checkpoint_blobs", "thread_id, checkpoint_ns, channel, version"),
        ("checkpoint_writes", "thread_id, checkpoint_ns, checkpoint_id, task_id, idx"),
    )
)

ONLY = databases.LIGHT[0].ids(0)[0]


class Database(Desk):
    """A database for one saver."""

    def __init__(self, opener: Callable[[str], Any], server: str, name: str) -> None:
        super().__init__()
        self._opener, self._server, self._name = opener, server, name
        self.url = databases.url_of(server, name)

    async def open(self, source: str | None) -> None:
        if source:
            await self.close()
        if self.saver:
            return
        servers.create(self._server, self._name, source)
        databases.set_up(self.url)
        await self._enter(self._opener(self.url))

    async def close(self) -> None:
        """Close the database, if it is open, and drop it."""
        if self.saver:
            await super().close()
            servers.drop(self._server, self._name)

    def rows(self) -> list[Any]:
        with psycopg.connect(self.url) as conn:
            return [conn.execute(table).fetchall() for table in TABLES]


def desks(server: str, openers: dict[str, Callable[[str], Any]]) -> nullcontext[dict[str, Database]]:
    """Give each saver a database."""
    return nullcontext(
        {name: Database(opener, server, f"benchmark_writes_{name}") for name, opener in openers.items()}
    )


def races(rounds: int, server: str) -> list[Writing]:
    """Return the races, on databases of this server."""
    chance = random.Random(42)
    states = {name: generator.states(chance, size, 20) for name, size in SIZES.items()}
    answers = {name: [state["channel_values"]["messages"] for state in states[name]] for name in SIZES}

    def puts(
        name: str, write: Writer, things: list[Any], openers: Any, agents: int = 1, each: int = ALONE
    ) -> Writing:
        make = partial(jobs, agents, each, things)
        turns = rounds * (TURNS if agents == 1 else 1)
        own = partial(desks, server, openers)
        return Writing([Pairing(name, ">= 1 x")], own, write, make, turns, agents * each)

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
        return Writing(
            [Pairing(name, target)], partial(desks, server, openers), write, nothing, source=source
        )

    threads = {"agents": THREADS, "each": PUTS_OF_A_THREAD}
    return [
        *ways("aput", partial(aput, _checkpoints), states),
        *ways("aput_writes", aput_writes, {size: answers[size] for size in ("1 KB", "10 KB")}),
        puts("put, 10 KB", partial(put, _checkpoints), states["10 KB"], savers.SYNC_ON_CONNECTION),
        puts(
            "put, 8 threads on a pool, 10 KB",
            partial(put, _checkpoints),
            states["10 KB"],
            savers.SYNC_ON_POOL,
            **threads,
        ),
        change("adelete_thread, 20,000 checkpoints, 1 KB", _delete, savers.ON_CONNECTION, ">= 1 x"),
        change("aprune to the latest, 20,000 checkpoints, 1 KB", _prune, savers.ON_CONNECTION, ">= 1 x"),
        change("acopy_thread, 20,000 checkpoints, 1 KB", _copy, savers.OURS_ON_CONNECTION),
    ]


def _checkpoints(states: list[Thing]) -> list[tuple[Any, dict[str, str]]]:
    """Return checkpoints and the versions that are new in each, as a graph's steps have them."""
    found = []
    for number, (checkpoint_id, state) in enumerate(states, 1):
        checkpoint = {**databases.version(state, number), "id": checkpoint_id}
        found.append((checkpoint, {"messages": checkpoint["channel_versions"]["messages"]}))
    return found


async def _delete(saver: Any, work: Work) -> None:
    await saver.adelete_thread(ONLY)


async def _prune(saver: Any, work: Work) -> None:
    await saver.aprune([ONLY], strategy="keep_latest")


async def _copy(saver: Any, work: Work) -> None:
    await saver.acopy_thread(ONLY, "copy")
