"""Threads in every state that one can be left in, and ways to go on with them."""

from __future__ import annotations

import asyncio
import operator
import re
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypedDict

from graphs import Log, asking, chat, failing, fan_out, functional, joining, nested
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Overwrite, Send, interrupt
from saver_graphs import extend, plain, trip

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from backends import Backend

Graph = Any
Config = Any


class Executions(BaseCallbackHandler):
    """Counts how often each node really runs."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        if kwargs.get("name") == (kwargs.get("metadata") or {}).get("langgraph_node"):
            self.counts[str(kwargs["name"])] += 1


class Memory(TypedDict, total=False):
    n: int
    answer: str
    memory: Annotated[list[int], operator.add]
    story: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=50)]


def remembering(saver: Any) -> Graph:
    """A subgraph with a memory, part of it a DeltaChannel, which calls one without and asks at n = 0."""

    def ask(state: Log) -> Log:
        return {"log": [interrupt("remember it?") if state["n"] == 0 else "no question"]}

    call = StateGraph(Log).add_node(ask).add_edge(START, "ask").compile()
    inner = StateGraph(Memory).add_sequence(
        [
            ("note", lambda state: {"memory": [state["n"]], "story": [f"noted {state['n']}"]}),
            ("call", call),
            ("total", lambda state: {"n": 100 * len(state["story"]) + sum(state["memory"])}),
        ]
    )
    memory = inner.add_edge(START, "note").compile(checkpointer=True)
    graph = StateGraph(Log).add_node("memory", memory)
    graph.add_node("tell", lambda state: {"log": [f"n is {state['n']}"]})
    return graph.add_edge(START, "memory").add_edge("memory", "tell").compile(saver)


class Delta(TypedDict, total=False):
    log: list[str]
    rare: list[str]
    never: list[str]
    n: int


class Count(TypedDict, total=False):
    n: int


def counting(saver: Any) -> Graph:
    """A graph without the DeltaChannels of `delta`, on the same thread: another release of the agent."""
    graph = StateGraph(Count).add_node("count", lambda state: {"n": 1}).add_edge(START, "count")
    return graph.compile(saver)


@cache
def delta(frequency: int, other: int = 3) -> Callable[[Any], Graph]:
    """Build graphs with DeltaChannels: one that each step writes, one that few do, one that none does."""
    state = TypedDict(  # noqa: UP013 - a class here could not name `frequency`
        "state",
        {
            "log": Annotated[list[str], DeltaChannel(extend, snapshot_frequency=frequency)],
            "rare": Annotated[list[str], DeltaChannel(extend, snapshot_frequency=other)],
            "never": Annotated[list[str], DeltaChannel(extend, snapshot_frequency=1)],
            "n": int,
        },
        total=False,
    )

    def work(given: Delta) -> Any:
        n = given.get("n", 0)
        found = {"log": [f"work {n}"], "n": n + 1}
        if n % 5 == 3:
            found["rare"] = [f"rare {n}"]
        if n == 7:
            found["log"] = Overwrite(["wiped"])
        return found

    def ask(given: Delta) -> Any:
        return {"log": [interrupt("more?") if given["n"] % 100 == 4 else "fine"]}

    def build(saver: Any) -> Graph:
        graph = StateGraph(state).add_node(work).add_node("twin", lambda given: {"log": ["twin"]})
        graph.add_node(ask).add_edge(START, "work").add_edge("work", "twin").add_edge("work", "ask")
        return graph.add_conditional_edges(
            "ask", lambda given: "work" if given["n"] % 3 else END, ["work", END]
        ).compile(saver)

    return build


def reviews(saver: Any) -> Graph:
    """A map over subgraphs, each in a subgraph, of which one asks."""

    def judge(state: Log) -> Log:
        return {"log": [f"{state['n']}: {interrupt('well?') if state['n'] == 1 else 'fine'}"]}

    class Lines(TypedDict):
        log: Annotated[list[str], operator.add]

    leaf = StateGraph(Log, output_schema=Lines).add_node(judge).add_edge(START, "judge").compile()
    review = StateGraph(Log, output_schema=Lines).add_node("leaf", leaf).add_edge(START, "leaf").compile()
    graph = StateGraph(Log).add_node("review", review)
    graph.add_node("collect", lambda state: {"log": [f"{len(state['log'])} lines"]}, defer=True)
    graph.add_conditional_edges(
        START, lambda state: [Send("review", {"n": n, "log": []}) for n in range(3)], ["review"]
    )
    return graph.add_edge("review", "collect").compile(saver)


def flaky(saver: Any) -> Graph:
    """Two nodes at once, of which the second fails the first time that a thread gets there."""

    def broken(state: Log) -> Log:
        if state["log"][-1] != "mended":
            raise ValueError("out of order")
        return {"log": ["worked"]}

    graph = StateGraph(Log).add_node("first", lambda state: {"log": ["first"]})
    graph.add_node("fine", lambda state: {"log": ["fine"]}).add_node(broken)
    graph.add_edge(START, "first").add_edge("first", "fine").add_edge("first", "broken")
    return graph.compile(saver)


class Shape(NamedTuple):
    """A thread: its graph, what is done with it at first, a further input, an edit as of a node."""

    build: Callable[[Any], Graph]
    begin: Callable[[Graph, Config], Any]
    given: Any
    edit: Any
    node: str


def lines(build: Any, *steps: Any, node: str, **kwargs: Any) -> Shape:
    """Name a thread of a graph whose state has a log; the steps are inputs, commands and calls."""
    return Shape(build, _runs(*steps, **kwargs), {"log": ["more"], "n": 10}, {"log": ["by hand"]}, node)


def _runs(*steps: Any, **kwargs: Any) -> Callable[[Graph, Config], None]:
    def begin(graph: Graph, config: Config) -> None:
        for step in steps:
            with suppress(ValueError):  # the shapes that fail are named so
                step(graph, config) if callable(step) else graph.invoke(step, config, **kwargs)

    return begin


def say(n: int) -> Any:
    return {"messages": [HumanMessage(f"Where is order {n}?", id=f"h-{n}")]}


def log(n: int, *texts: str) -> Any:
    return {"log": list(texts), "n": n}


def fork(graph: Graph, config: Config) -> None:
    """Go on from the middle of the history, by an edit and by a plain replay."""
    history = [state for state in graph.get_state_history(config) if state.next and state.next != (START,)]
    old = history[len(history) // 2]
    edited = graph.update_state(old.config, {"log": ["forked"]}, as_node=old.next[0])
    graph.invoke(None, edited)
    graph.invoke(None, history[-1].config)


def edit(values: Any, node: str) -> Any:
    return lambda graph, config: graph.update_state(config, values, as_node=node)


def copy(graph: Graph, config: Config) -> None:
    graph.update_state(config, None, as_node="__copy__")


def at_exit(given: Any) -> Any:
    return lambda graph, config: graph.invoke(given, config, durability="exit")


def inside(graph: Graph, config: Config) -> None:
    """Edit the state of the innermost subgraph that waits."""
    state = graph.get_state(config, subgraphs=True)
    while state.tasks and state.tasks[0].state:
        state = state.tasks[0].state
    graph.update_state(state.config, {"log": ["edited inside"]})


YES = Command(resume="yes")
ANEW = {"messages": [AIMessage("anew", id="anew")], "log": ["anew"]}
SHAPES: dict[str, Shape] = {
    "agent with tools": Shape(chat, _runs(say(1), say(2)), say(3), say(4), "tools"),
    "interrupt": lines(asking, log(1), node="ask"),
    "resumed": lines(asking, log(1), YES, node="ask"),
    "fan-out": lines(fan_out, log(1), node="plan"),
    "joined": lines(joining, log(1, "new"), log(2, "again"), node="a"),
    "joined, forked": lines(joining, log(1, "new"), fork, node="join"),
    "nested": lines(nested, log(1), node="middle"),
    "nested, done": lines(nested, log(1), YES, log(2), YES, node="middle"),
    "nested, edited": lines(nested, log(1), inside, node="middle"),
    "map": lines(reviews, log(1), node="collect"),
    "map, done": lines(reviews, log(1), YES, node="collect"),
    "failed": lines(failing, log(1), node="fine"),
    "failed, mended": lines(flaky, log(1, "x"), edit({"log": ["mended"]}, "first"), node="first"),
    "functional": Shape(functional, _runs(21), 34, {"double": 5}, "flow"),
    "functional, done": Shape(functional, _runs(21, YES), 34, {"double": 5}, "flow"),
    "memory, done": lines(remembering, log(1), log(20), log(300), node="memory"),
    "memory, asking": lines(remembering, log(1), log(20), log(0), node="memory"),
    "memory, answered": lines(remembering, log(0), YES, log(0), YES, node="tell"),
    "memory, at exit": lines(remembering, log(1), log(20), log(0), node="memory", durability="exit"),
    "trip": lines(trip, log(1, "began"), node="book")._replace(given=ANEW),
    "trip, done": lines(trip, log(1, "began"), YES, ANEW, node="book")._replace(given=ANEW),
    "delta 1": lines(delta(1), log(0), log(7), node="work"),
    "delta 2": lines(delta(2), log(0), log(9), log(13), node="work"),
    "delta 5": lines(delta(5, 2), log(0), log(9), log(3), YES, node="work"),
    "delta 100": lines(delta(100), log(0), log(5), log(7), node="work"),
    "delta, asking": lines(delta(100), log(0), log(3), node="ask"),
    "delta, forked": lines(delta(100), log(0), log(9), fork, node="work"),
    "delta, edited": lines(delta(4), log(0), edit({"log": ["a"], "rare": ["b"]}, "work"), node="work"),
    "delta, wiped": lines(delta(9), log(0), edit({"log": Overwrite(["c"])}, "work"), node="work"),
    "delta, copied": lines(delta(100), log(0), log(9), copy, node="work"),
    "delta, begun by hand": lines(delta(100), edit({"log": ["a"]}, "work"), log(9), node="work"),
    "delta at exit": lines(delta(100), log(0), node="work", durability="exit"),
    "delta at exit, twice": lines(delta(3), log(0), log(3), YES, node="ask", durability="exit"),
    "delta, then at exit": lines(delta(100), log(0), at_exit(log(9)), at_exit(log(5)), node="work"),
}
DELTAS = [name for name in SHAPES if name.startswith(("delta", "trip", "memory"))]


def thread(thread_id: str, **more: Any) -> Config:
    # One node at a time where one fails, so that it does not cut off its neighbour by chance.
    if "failed" in thread_id:
        more["max_concurrency"] = 1
    return {"configurable": {"thread_id": thread_id}, **more}


def begin(saver: Any, name: str) -> Graph:
    """Bring the thread with the shape's name to where the shape has it."""
    graph = SHAPES[name].build(saver)
    SHAPES[name].begin(graph, thread(name))
    return graph


def ways(name: str) -> tuple[str, ...]:
    """Name the ways in which one goes on with a thread, the likeliest first."""
    if "failed" in name:
        return ("none", "edited", "given")
    asks = {
        "interrupt",
        "fan-out",
        "nested",
        "nested, edited",
        "map",
        "functional",
        "trip",
        "memory, at exit",
    }
    return ("resumed", "edited", "given") if name in asks or "asking" in name else ("given", "edited")


LIKELIEST = [(name, ways(name)[0]) for name in SHAPES]
ALL_WAYS = [(name, way) for name in SHAPES for way in ways(name)]


def go_on(name: str, way: str, saver: Any, thread_id: str | None = None) -> list[str]:
    """Go on with a thread in a way, then with a further input; return all that can be seen, without ids."""
    shape, executions = SHAPES[name], Executions()
    graph, config = shape.build(saver), thread(thread_id or name, callbacks=[executions])
    steps: dict[str, Any] = {"given": shape.given, "resumed": YES, "none": None, "edited": None}
    if way == "edited":
        graph.update_state(config, shape.edit, as_node=shape.node)
    seen = []
    for given in (steps[way], shape.given):
        seen += [_outcome(graph, given, config), sorted(executions.counts.items()), view(graph, config)]
    return plain(seen).replace(repr(config["configurable"]["thread_id"]), "THREAD").split(", ")


def _outcome(graph: Graph, given: Any, config: Config) -> Any:
    try:
        return graph.invoke(given, config)
    except ValueError as error:
        return error


def view(graph: Graph, config: Config) -> Any:
    """Return what LangGraph says of the thread's head, but its parent, with all subgraphs that wait."""
    return _seen(graph.get_state(config, subgraphs=True))


def _seen(state: Any) -> Any:
    tasks = [
        each._replace(state=_seen(each.state)) if hasattr(each.state, "tasks") else each
        for each in state.tasks
    ]
    return state._replace(parent_config=None, tasks=tuple(tasks), metadata=_in_order(state.metadata))


def _in_order(value: Any) -> Any:
    """Sort names, as PostgreSQL does by its own rule."""
    return {name: _in_order(value[name]) for name in sorted(value)} if isinstance(value, dict) else value


@cache
def written() -> bytes:
    """Return a database in which the official saver has written a thread of each shape."""
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as conn:
        for name in SHAPES:
            begin(OfficialSaver(conn), name)
        return conn.serialize()


@cache
def original(name: str, way: str) -> list[str]:
    """Return what going on with a thread comes to with the official saver, when nothing happened to it."""
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as conn:
        conn.deserialize(written())
        return go_on(name, way, OfficialSaver(conn))


class Rows(NamedTuple):
    """A thread's rows of all tables without the thread's id; namespace and checkpoint id come first."""

    checkpoints: list[Any]
    writes: list[Any]
    blobs: list[Any]

    @property
    def sizes(self) -> dict[str, int]:
        """The number of checkpoints of each namespace; those of calls are named without their ids."""
        return dict(Counter(re.sub(":[^|]*", ":", row[0]) for row in self.checkpoints))


NOTHING = Rows([], [], [])


class Threads:
    """A store with threads: our saver and the official one, each on a connection of its own, and the rows."""

    def __init__(self, backend: Backend, place: str, stack: ExitStack) -> None:
        self.backend, self.place = backend, place
        self._stack = stack

    def open(self, build: Any, **kwargs: Any) -> Any:
        """Open a saver, for as long as the test lasts."""
        return self._stack.enter_context(self.backend.open(self.place, build, **kwargs))

    @cached_property
    def ours(self) -> Any:
        return self.open(self.backend.ours.sync)

    @cached_property
    def official(self) -> Any:
        return self.open(self.backend.official.sync)

    def rows(self, thread_id: str) -> Rows:
        """Return the rows of a thread."""
        return Rows(*self.backend.rows_of(self.place, thread_id))

    def everything(self) -> dict[str, list[Any]]:
        return self.backend.raw(self.place)

    def execute(self, statement: str, *parameters: Any) -> list[Any]:
        """Run one statement, with `?` for its parameters, and commit it."""
        return self.backend.execute(self.place, statement, *parameters)


def sync(threads: Threads, method: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method of our saver."""
    with threads.backend.open(threads.place, threads.backend.ours.sync) as saver:
        return getattr(saver, method)(*args, **kwargs)


def asynchronous(threads: Threads, method: str, *args: Any, **kwargs: Any) -> Any:
    """Call the method's twin of the asynchronous saver."""

    async def call() -> Any:
        async with threads.backend.aopen(threads.place, threads.backend.ours.aio) as saver:
            return await getattr(saver, f"a{method}")(*args, **kwargs)

    return asyncio.run(call())
