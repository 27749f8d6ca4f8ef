"""Stores written by LangGraph's own savers, agents in other processes, and questions to stores.

A place is the path of a SQLite file or the URL of a PostgreSQL database.
"""

from __future__ import annotations

import operator
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, TypeVar

import psycopg
from graphs import official_saver as official
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from checkpoints.stores import Location, Search, Store, ThreadRow, close, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    import pytest
    from langchain_core.runnables import RunnableConfig
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import StateSnapshot

T = TypeVar("T")
P = TypeVar("P", "Path", str)

# An agent that writes a checkpoint at a time, reports each, and stops or dies when told to.
AGENT = """
import os, signal, sys
from stores_data import config, counter
from langgraph.checkpoint.sqlite import SqliteSaver

path, ending = sys.argv[1:]
with SqliteSaver.from_conn_string(path) as saver:
    graph = counter(saver)
    for line in sys.stdin:
        graph.invoke({"log": ["more"]}, config(line.strip()))
        print("written", flush=True)
    if ending == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
"""


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def counter(saver: Any) -> CompiledStateGraph[Any]:
    """Three checkpoints a call: input, loop, loop."""
    return (
        StateGraph(Log)
        .add_sequence([("count", lambda state: {"log": ["counted"]})])
        .add_edge(START, "count")
        .compile(saver)
    )


def asking(saver: Any) -> CompiledStateGraph[Any]:
    """A graph whose subgraph counts, and then asks."""
    inner = StateGraph(Log).add_sequence(
        [("count", lambda state: {"log": ["counted"]}), ("ask", lambda state: {"log": [interrupt("go on?")]})]
    )
    outer = StateGraph(Log).add_node("inner", inner.add_edge(START, "count").compile())
    return outer.add_edge(START, "inner").compile(saver)


def config(thread_id: str, **metadata: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id}, "metadata": metadata}


def is_url(place: Path | str) -> bool:
    return str(place).startswith("postgresql://")


def write(place: P, thread_ids: Sequence[str], **metadata: Any) -> P:
    """Call the counting graph once on each of these threads."""
    with official(place) as saver:
        graph = counter(saver)
        for thread_id in thread_ids:
            graph.invoke({"log": [thread_id]}, config(thread_id, **metadata))
    return place


def write_asking(place: Path | str, thread_id: str) -> list[StateSnapshot]:
    """Call the asking graph, and return what LangGraph says of the thread, newest first."""
    with official(place) as saver:
        graph = asking(saver)
        graph.invoke({"log": []}, config(thread_id))
        return list(graph.get_state_history(config(thread_id)))


def bound(monkeypatch: pytest.MonkeyPatch, module: str, name: str, value: object) -> None:
    """Set a bound of reading in both kinds of stores."""
    for kind in ("sqlite", "postgres"):
        monkeypatch.setattr(f"checkpoints.stores.{kind}.{module}.{name}", value)


def checkpoint_id(state: StateSnapshot) -> str:
    return str(state.config["configurable"]["checkpoint_id"])


def execute(place: Path | str, sql: str, *parameters: Any) -> None:
    """Change a store by hand, and leave no log beside it. The SQL is SQLite's."""
    if is_url(place):
        theirs = re.sub(r"\bwrites\b", "checkpoint_writes", sql).replace("?", "%s")
        with psycopg.connect(str(place)) as connection:
            connection.execute(theirs.encode(), parameters or None)
        return
    with closing(sqlite3.connect(place)) as conn, conn:
        conn.execute(sql, parameters)


def traces(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return what is in a folder: each file's bytes and time of change."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


async def ask(place: Path | str, question: Callable[[Any], Awaitable[T]]) -> T:
    try:
        return await read(Location.parse(str(place)), question)
    finally:
        await close()


async def all_pages(
    store: Store, *, limit: int = 50, search: Search | None = None
) -> list[tuple[ThreadRow, ...]]:
    """Follow the keys from the first page of threads to the last."""
    pages, before = [], None
    for _ in range(1_000):
        page = await store.threads(before=before, limit=limit, search=search)
        pages.append(page.threads)
        before = page.before
        if before is None:
            return pages
    raise AssertionError("There is no end of pages.")


async def ids(path: Path | str, *, limit: int = 50, search: Search | None = None) -> list[str]:
    """Return the thread ids of all pages, in order."""
    pages = await ask(path, lambda store: all_pages(store, limit=limit, search=search))
    return [row.thread_id for page in pages for row in page]


async def browse(store: Store) -> int:
    """Read all that a visitor would."""
    await store.overview()
    page = await store.threads()
    for row in page.threads:
        for ns in await store.namespaces(row.thread_id):
            await store.timeline(row.thread_id, ns.checkpoint_ns)
            await store.checkpoint_row(row.thread_id, ns.checkpoint_ns, ns.head_id)
            await store.writes(row.thread_id, ns.checkpoint_ns, ns.head_id)
    return len(page.threads)


class Agent:
    """A LangGraph agent in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def call(self, thread_id: str) -> None:
        """Let it run the graph on a thread, and wait until that is written."""
        assert self.process.stdin
        assert self.process.stdout
        print(thread_id, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "written\n"

    def end(self) -> int:
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait()


@contextmanager
def agent(path: Path, *, dies: bool = False) -> Iterator[Agent]:
    """Run an agent on a store; at the end it closes the store, or is killed with it open."""
    command = [sys.executable, "-c", AGENT, str(path), "dies" if dies else "stops"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        running = Agent(process)
        yield running
        if process.poll() is None:
            running.end()
