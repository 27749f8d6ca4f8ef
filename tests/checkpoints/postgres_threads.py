"""Threads of which every row is known, calls that change them, and what tells whether they are whole."""

from __future__ import annotations

import operator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypedDict

import psycopg
from backends import OPTIONS
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from saver_graphs import extend

from checkpoints.postgres import PostgresSaver
from checkpoints.postgres.aio import AsyncPostgresSaver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

KINDS = ("connection", "pool", "pipeline")
POOL = {"min_size": 1, "max_size": 8, "timeout": 10}
CHANNELS = ("a", "b", "c")
WRITES = [("a", ["written"]), ("b", 1), ("c", None)]

ROWS = (
    """SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint::text, metadata::text
    FROM checkpoints WHERE thread_id = %s""",
    "SELECT checkpoint_ns, channel, version, type, blob FROM checkpoint_blobs WHERE thread_id = %s",
    """SELECT checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob FROM checkpoint_writes
    WHERE thread_id = %s""",
)
TORN = """\
SELECT thread_id, checkpoint_id, key FROM checkpoints, jsonb_each_text(checkpoint -> 'channel_versions')
WHERE thread_id NOT LIKE 'diary%' AND NOT EXISTS (
    SELECT FROM checkpoint_blobs AS held WHERE held.thread_id = checkpoints.thread_id
    AND held.checkpoint_ns = checkpoints.checkpoint_ns AND channel = key AND version = value)"""
CLONE_CHECKPOINTS = """\
INSERT INTO checkpoints SELECT new, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,
    metadata || jsonb_build_object('run_id', new || ' ' || (metadata ->> 'step'))
FROM unnest(%s::text[]) AS new, checkpoints WHERE thread_id = %s"""
CLONE_BLOBS = """\
INSERT INTO checkpoint_blobs SELECT new, checkpoint_ns, channel, version, type, blob
FROM unnest(%s::text[]) AS new, checkpoint_blobs WHERE thread_id = %s"""
CLONE_WRITES = """\
INSERT INTO checkpoint_writes
SELECT new, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path
FROM unnest(%s::text[]) AS new, checkpoint_writes WHERE thread_id = %s"""
OTHERS = """\
SELECT pid, state, wait_event_type FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""


def at(thread_id: str, number: int | None = None) -> Any:
    """Return the config of a thread, or of one of its checkpoints."""
    configurable = {"thread_id": thread_id, "checkpoint_ns": ""}
    return {"configurable": configurable | ({"checkpoint_id": f"{number:08}"} if number else {})}


def versions(number: int) -> dict[str, str]:
    return dict.fromkeys(CHANNELS, f"{number:032}.5")


def checkpoint(number: int) -> Any:
    """Return a checkpoint, all values of which are blobs of its own."""
    return {
        **empty_checkpoint(),
        "id": f"{number:08}",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {channel: [channel, number] for channel in CHANNELS},
        "channel_versions": versions(number),
    }


def putting(thread_id: str, number: int) -> tuple[Any, ...]:
    """Return the arguments that put a checkpoint on the one before."""
    return (
        at(thread_id, number - 1),
        checkpoint(number),
        {"run_id": f"{thread_id} {number}", "step": number},
        versions(number),
    )


def fill(saver: Any, *thread_ids: str, numbers: range = range(1, 4)) -> None:
    """Store checkpoints, each with three blobs and three writes."""
    for thread_id in thread_ids:
        for number in numbers:
            saver.put(*putting(thread_id, number))
            saver.put_writes(at(thread_id, number), WRITES, f"task {number}")


def clone(url: str, thread_id: str, *others: str) -> None:
    """Copy a thread, the run ids of which are its own."""
    ask(url, CLONE_CHECKPOINTS, list(others), thread_id)
    for sql in (CLONE_BLOBS, CLONE_WRITES):
        ask(url, sql, list(others), thread_id)


class Call(NamedTuple):
    """A call of a saver's method on a thread."""

    method: str
    arguments: Callable[[str], tuple[Any, ...]]
    keywords: tuple[tuple[str, Any], ...] = ()

    def run(self, saver: Any, thread_id: str) -> Any:
        found = getattr(saver, self.method)(*self.arguments(thread_id), **dict(self.keywords))
        return list(found) if self.method == "list" else found

    async def arun(self, saver: Any, thread_id: str) -> Any:
        found = getattr(saver, f"a{self.method}")(*self.arguments(thread_id), **dict(self.keywords))
        return [each async for each in found] if self.method == "list" else await found


WRITING = {
    "put": Call("put", lambda thread: putting(thread, 9)),
    "put again": Call("put", lambda thread: (*putting(thread, 2)[:2], {"step": "again"}, versions(2))),
    "put_writes": Call("put_writes", lambda thread: (at(thread, 3), [("a", n) for n in range(2_500)], "new")),
    "put an error": Call("put_writes", lambda thread: (at(thread, 3), [("__error__", "e")], "task 3")),
    "delete_thread": Call("delete_thread", lambda thread: (thread,)),
    "copy_thread": Call("copy_thread", lambda thread: (thread, f"copy of {thread}")),
    "prune": Call("prune", lambda thread: ([thread],)),
    "prune all": Call("prune", lambda thread: ([thread],), (("strategy", "delete"),)),
    "delete_for_runs": Call("delete_for_runs", lambda thread: ([f"{thread} 1", f"{thread} 3"],)),
}
READING = {
    "get_tuple": Call("get_tuple", lambda thread: (at(thread),)),
    "list": Call("list", lambda thread: (at(thread),)),
}
CALLS = WRITING | READING


@contextmanager
def opened(url: str, kind: str = "connection", build: Any = PostgresSaver, **options: Any) -> Iterator[Any]:
    """Open a saver on a database that has its tables."""
    options = {**OPTIONS, **options}
    if kind == "pool":
        with ConnectionPool(url, kwargs=options, **POOL) as pool:
            yield build(pool)
        return
    with psycopg.Connection.connect(url, **options) as conn:
        if kind == "pipeline":
            with conn.pipeline() as pipe:
                yield build(conn, pipe)
        else:
            yield build(conn)


@asynccontextmanager
async def aopened(
    url: str, kind: str = "connection", build: Any = AsyncPostgresSaver, **options: Any
) -> AsyncIterator[Any]:
    """Do the same for asyncio."""
    options = {**OPTIONS, **options}
    if kind == "pool":
        async with AsyncConnectionPool(url, kwargs=options, **POOL) as pool:
            yield build(pool)
        return
    async with await psycopg.AsyncConnection.connect(url, **options) as conn:
        if kind == "pipeline":
            async with conn.pipeline() as pipe:
                yield build(conn, pipe)
        else:
            yield build(conn)


def ask(url: str, sql: str, *parameters: Any) -> list[Any]:
    """Run SQL on a connection of its own."""
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(sql.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


def rows(url: str, *thread_ids: str) -> list[Any]:
    """Return all rows of these threads."""
    with psycopg.connect(url, autocommit=True) as conn:
        return [sorted(conn.execute(sql.encode(), (id,)), key=repr) for id in thread_ids for sql in ROWS]


def torn(url: str) -> list[Any]:
    """Return the checkpoints that lack one of their blobs."""
    return ask(url, TORN)


def waiting(url: str, number: int = 1) -> int:
    """Return a process of the server that waits for a lock, as soon as there are so many."""
    for _ in range(1_000):
        if len(found := [pid for pid, _, event in ask(url, OTHERS) if event == "Lock"]) >= number:
            return int(found[0])
    raise AssertionError("nobody waits for a lock")


def busy(url: str) -> list[Any]:
    """Return what other connections still do, or have begun and not ended."""
    return [other for other in ask(url, OTHERS) if other[1] != "idle"]


class Statements:
    """What a saver sends. Before the statement of a number is sent, something is done."""

    def __init__(self, number: int, before: Callable[[psycopg.Connection[Any]], object]) -> None:
        self.number, self.before = number, before
        self.sent: list[str] = []

    @property
    def reached(self) -> bool:
        return len(self.sent) >= self.number

    def cursors(self) -> type[psycopg.Cursor[Any]]:
        def tell(conn: psycopg.Connection[Any], sql: str) -> None:
            self.sent.append(sql)
            if len(self.sent) == self.number:
                self.before(conn)

        class Watched(psycopg.Cursor[Any]):
            def execute(self, query: Any, *arguments: Any, **keywords: Any) -> Any:
                tell(self.connection, query)
                return super().execute(query, *arguments, **keywords)

        return Watched


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call returns or raises."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the tests look at it
        return error


# A graph whose threads go on for ever: messages, a DeltaChannel, Sends, a subgraph that asks.


class Diary(TypedDict, total=False):
    day: int
    pages: Annotated[list[str], operator.add]
    story: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=3)]
    answer: str


class Question(TypedDict, total=False):
    answer: str


class PlainDiary(TypedDict, total=False):
    day: int
    pages: Annotated[list[str], operator.add]
    story: Annotated[list[str], operator.add]
    answer: str


def diary(saver: Any, state: Any = Diary) -> Any:
    """Write a page in a node, two in tasks that are sent, and one that a subgraph asks for."""

    def note(state: Any) -> Any:
        return {"pages": [f"note {state['day']}"], "story": [f"noted {state['day']}"]}

    def send(state: Any) -> list[Send]:
        return [Send("letter", {"day": state["day"], "to": to}) for to in ("Ann", "Bob")]

    def letter(given: Any) -> Any:
        text = f"letter {given['day']} to {given['to']}"
        return {"pages": [text], "story": [text]}

    def ask(state: Any) -> Any:
        return {"answer": interrupt("?")}

    def end(state: Any) -> Any:
        return {"pages": [f"end {state['day']}: {state['answer']}"]}

    asking = StateGraph(Question).add_node(ask).add_edge(START, "ask").compile()
    graph = StateGraph(state).add_node(note).add_node(letter).add_node("asking", asking).add_node(end)
    graph.add_edge(START, "note").add_conditional_edges("note", send, ["letter"])
    graph.add_edge("letter", "asking").add_edge("asking", "end").add_edge("end", END)
    return graph.compile(saver)


def live(saver: Any, thread_id: str, *days: int, state: Any = Diary) -> Any:
    """Write these days, and return the state."""
    graph, config = diary(saver, state), {"configurable": {"thread_id": thread_id}}
    for day in days:
        graph.invoke({"day": day}, config)
        graph.invoke(Command(resume="yes"), config)
    return graph.get_state(config).values


async def live_on(saver: Any, thread_id: str, *days: int) -> Any:
    """Do the same for asyncio."""
    graph, config = diary(saver), {"configurable": {"thread_id": thread_id}}
    for day in days:
        await graph.ainvoke({"day": day}, config)
        await graph.ainvoke(Command(resume="yes"), config)
    return (await graph.aget_state(config)).values
