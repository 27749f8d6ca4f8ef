"""Replays: a run beside LangGraph's own, what it costs to have it in a process, and what watchers cost it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialSaver

from benchmarks.clock import medians, table
from benchmarks.race import COLUMNS, LEAST, Pairing
from benchmarks.runnable import STEPS, builder
from explorer.graphs.sources import GraphSource
from explorer.running.job import Job
from explorer.running.run import Stop, run

if TYPE_CHECKING:
    from collections.abc import Iterator

WATCHERS = 100
TOKEN = "bench"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
GRAPH = GraphSource("graph", "benchmarks.runnable:graph", str(Path(__file__).parents[1]))


async def begun(path: Path, thread: str) -> str:
    """Begin a thread, and return the checkpoint that the graph would run from."""
    config: Any = {"configurable": {"thread_id": thread}}
    async with OfficialSaver.from_conn_string(str(path)) as saver:
        graph = builder.compile(checkpointer=saver)
        await graph.aupdate_state(config, {"log": [0]}, as_node="__start__")
        state = await graph.aget_state(config)
        return str(state.config["configurable"]["checkpoint_id"])


async def report(rounds: int) -> None:
    """Print both tables."""
    rounds = max(LEAST, rounds // 4)
    with tempfile.TemporaryDirectory() as folder:
        await _beside_langgraph(Path(folder) / "runs.sqlite", rounds)
        await _watched(Path(folder) / "watched.sqlite", rounds)


async def _beside_langgraph(path: Path, rounds: int) -> None:
    id = await begun(path, "t")

    async def ours() -> None:
        ended = await run(Job(GRAPH, str(path), "", "replay", "t", "", id, step_limit=100), _heard, Stop())
        assert ended["state"] == "succeeded", ended

    async def official(durability: Any) -> None:
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_id": id}, "recursion_limit": 100}
        async with OfficialSaver.from_conn_string(str(path)) as saver:
            await builder.compile(checkpointer=saver).ainvoke(None, config, durability=durability)

    calls = {"ours": ours, "sync": partial(official, "sync"), "async": partial(official, "async")}
    taken = await medians(calls, rounds)
    pairings = [
        Pairing('beside ainvoke, durability="sync"', "0.9 x", official="sync"),
        Pairing('beside ainvoke, durability="async"', official="async"),
    ]
    title = f"A replay of {STEPS} supersteps, every event told"
    table(title, COLUMNS, {pairing.name: pairing.cells(taken) for pairing in pairings})


def _heard(event: dict[str, Any]) -> None:
    json.dumps(event)


async def _watched(path: Path, rounds: int) -> None:
    with served(path) as url:
        ids = [await begun(path, str(number)) for number in range(2 * (rounds + 1))]
        turns = iter(enumerate(ids))

        async def replayed(watchers: int) -> None:
            number, id = next(turns)
            await asyncio.to_thread(_replayed, url, str(number), id, watchers)

        calls = {"ours": partial(replayed, WATCHERS), "official": partial(replayed, 0)}
        taken = await medians(calls, rounds)
    line = Pairing(f"watched by {WATCHERS}, beside by one", "0.9 x")
    columns = ["watched", "alone", *COLUMNS[2:]]
    table("A replay from its request to its end", columns, {line.name: line.cells(taken)})


@contextmanager
def served(path: Path) -> Iterator[str]:
    """Serve a store with the graph, and give the address of its threads."""
    command = [sys.executable, "-m", "explorer", str(path), "--no-browser", "--port", "0", "--token", TOKEN]
    graph = ["--graph", "graph=benchmarks.runnable:graph"]
    environment = {**os.environ, "XDG_DATA_HOME": str(path.parent)}
    _begin(path)
    server = subprocess.Popen([*command, *graph], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout
        yield f"http://{urlsplit(server.stdout.readline().split()[-1]).netloc}"
    finally:
        server.terminate()
        server.communicate(timeout=20)


def _begin(path: Path) -> None:
    """Let LangGraph make its tables: the explorer opens no file without them."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string(str(path)) as saver:
        saver.setup()


def _call(url: str, content: Any = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    headers = {**HEADERS, "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return json.load(answer)


def _replayed(url: str, thread: str, id: str, watchers: int) -> None:
    """Ask for a replay, let so many watch it, and return when all of them have seen its end."""
    asked = {"kind": "replay", "checkpoint_id": id, "graph": "graph", "step_limit": 100}
    while True:
        try:
            made = _call(f"{url}/s/watched/threads/{thread}/replays/", asked)
            break
        except urllib.error.HTTPError as error:
            if error.code != 422:  # what it is until the worker has told of the graph
                raise
    watching = [threading.Thread(target=_watch, args=[url, made["address"]]) for _ in range(max(watchers, 1))]
    for each in watching:
        each.start()
    for each in watching:
        each.join()
    assert _call(f"{url}/api{made['address']}")["state"] == "succeeded"


def _watch(url: str, address: str) -> None:
    request = urllib.request.Request(f"{url}{address}events/", headers=HEADERS)
    with closing(urllib.request.urlopen(request, timeout=60)) as stream:
        for line in stream:
            if line == b"event: ended\n":
                return
