"""Forks: one in place beside LangGraph's copy, a new thread, and an agent's writes while forks go on."""

from __future__ import annotations

import asyncio
import operator
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.postgres import PostgresSaver as OfficialPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.graph import START, StateGraph

from benchmarks.clock import medians, table
from benchmarks.postgres import databases, servers
from benchmarks.race import COLUMNS, LEAST, Pairing
from checkpoints.forking import fork, fork_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS = 40
SIZES = {"1 KB": 1_000, "10 KB": 10_000, "1 MB": 1_000_000}
SECONDS = 4.0  # that an agent writes, with forks and without
THREAD = "thread"


class State(TypedDict, total=False):
    text: str
    log: Annotated[list[int], operator.add]


def counter(saver: Any) -> Any:
    graph = StateGraph(State).add_node("count", lambda state: {"log": [len(state["log"])]})
    return graph.add_edge(START, "count").compile(saver)


def config(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id}}


def fill(saver: Any, size: int) -> None:
    """Write a thread of some steps whose state has so many bytes."""
    graph = counter(saver)
    graph.invoke({"text": "x" * size, "log": []}, config(THREAD))
    for _ in range(STEPS // 3):
        graph.invoke({"log": []}, config(THREAD))


@contextmanager
def places(server: str) -> Iterator[dict[str, Callable[[], tuple[str, Any]]]]:
    """Give what opens the official saver at a new empty place of each kind, with the place."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:

        def file() -> tuple[str, Any]:
            path = str(Path(folder) / f"{time.monotonic_ns()}.sqlite")
            saver = stack.enter_context(OfficialSaver.from_conn_string(path))
            saver.setup()
            return path, saver

        def database() -> tuple[str, Any]:
            name = f"benchmark_forks_{time.monotonic_ns()}"
            servers.create(server, name)
            stack.callback(servers.drop, server, name)
            url = databases.url_of(server, name)
            saver = stack.enter_context(OfficialPostgresSaver.from_conn_string(url))
            saver.setup()
            return url, saver

        yield {"SQLite": file, "PostgreSQL": database}


OPEN = {"SQLite": OfficialSaver.from_conn_string, "PostgreSQL": OfficialPostgresSaver.from_conn_string}


async def report(rounds: int) -> None:
    """Print what forks take beside LangGraph's copies, and how long an agent's writes take meanwhile."""
    rounds = max(rounds, LEAST)
    with servers.server() as server, places(server) as kinds:
        rows: dict[str, list[str]] = {}
        for kind, new in kinds.items():
            for size, characters in SIZES.items():
                rows[f"{kind}: fork in place, {size}"] = await _in_place(kind, new, characters, rounds)
            rows[f"{kind}: fork into a new thread, {STEPS} checkpoints, 10 KB"] = await _thread(new, rounds)
        table("Forks beside LangGraph's copies, each on a connection of its own", COLUMNS, rows)
        columns = ["alone p50", "alone p99", "beside p50", "beside p99", "in place", "new threads"]
        agents = {kind: await asyncio.to_thread(_beside, new) for kind, new in kinds.items()}
        table("An agent's writes, alone and beside two that fork its thread without a pause", columns, agents)


async def _in_place(kind: str, new: Callable[[], tuple[str, Any]], size: int, rounds: int) -> list[str]:
    place, saver = new()
    fill(saver, size)
    graph = counter(saver)

    def copy() -> None:
        with OPEN[kind](place) as own:
            graph.checkpointer = own
            graph.update_state(config(THREAD), None, as_node="__copy__")

    calls = {
        "ours": partial(asyncio.to_thread, fork, place, THREAD),
        "official": partial(asyncio.to_thread, copy),
    }
    return Pairing("").cells(await medians(calls, rounds))


async def _thread(new: Callable[[], tuple[str, Any]], rounds: int) -> list[str]:
    place, saver = new()
    fill(saver, 10_000)
    names = iter(range(10**9))

    async def forked() -> None:
        await asyncio.to_thread(fork_thread, place, THREAD, f"fork {next(names)}")

    return Pairing("").cells(await medians({"ours": forked}, rounds))


def _beside(new: Callable[[], tuple[str, Any]]) -> list[str]:
    place, saver = new()
    fill(saver, 10_000)
    alone = _agent(saver)
    counts = [0, 0]
    stop = threading.Event()

    def forking(number: int) -> None:
        while not stop.is_set():
            if number:
                fork_thread(place, THREAD, f"fork {counts[number]}", head)
            else:
                fork(place, THREAD)
            counts[number] += 1

    head = saver.get_tuple(config(THREAD)).checkpoint["id"]
    workers = [threading.Thread(target=forking, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    beside = _agent(saver)
    stop.set()
    for worker in workers:
        worker.join()
    times = (median(alone), quantiles(alone, n=100)[-1], median(beside), quantiles(beside, n=100)[-1])
    return [*(f"{taken * 1000:.1f} ms" for taken in times), *map(str, counts)]


def _agent(saver: Any) -> list[float]:
    """Store checkpoints as an agent does, and return the seconds that each took."""
    taken: list[float] = []
    until = time.monotonic() + SECONDS
    at = saver.get_tuple(config(THREAD))
    where = at.config
    while time.monotonic() < until:
        at.checkpoint["id"] = str(uuid6())
        began = time.perf_counter()
        where = saver.put(where, at.checkpoint, at.metadata, {})
        taken.append(time.perf_counter() - began)
    return taken
