"""Graphs that lean on a saver in every way that LangGraph documents, to be built with any saver."""

from __future__ import annotations

import operator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypedDict
from uuid import UUID

import numpy as np
from graphs import Log, Order, Point
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig  # noqa: TC002 - LangGraph looks it up
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.channels.delta import DeltaChannel
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Overwrite, RetryPolicy, Send, interrupt
from saver_graphs import extend

if TYPE_CHECKING:
    from collections.abc import Callable

    from langgraph.graph.state import CompiledStateGraph

Graph = Any
Builder = Any  # saver -> graph


class Talk(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    basket: Annotated[list[str], operator.add]


CallId = Annotated[str, InjectedToolCallId]


# Every message has an id from the start: LangGraph gives one to a message in place, while a write of it
# may already be on its way to the saver, or not yet.
def told(text: str, call_id: str, **fields: Any) -> ToolMessage:
    return ToolMessage(text, tool_call_id=call_id, id=f"told-{call_id}", **fields)


@tool
def price(item: str, tool_call_id: CallId) -> ToolMessage:
    """Tell what an item costs."""
    return told(f"{item} costs {len(item)}", tool_call_id, artifact={"cents": 100 * len(item)})


@tool
def buy(item: str, tool_call_id: CallId) -> Command[Any]:
    """Put an item into the basket, once somebody agrees."""
    answer = interrupt({"buy": item})
    return Command(update={"basket": [item], "messages": [told(f"{item}: {answer}", tool_call_id)]})


@tool
def complain(item: str, tool_call_id: CallId) -> ToolMessage:
    """Fail, and say so."""
    return told(f"no {item} here", tool_call_id, status="error")


def agent(saver: Any) -> Graph:
    """A scripted model that calls the tools its human names (`price:pen buy:ink`), all at once."""

    def model(state: Talk) -> Talk:
        last = state["messages"][-1]
        if not isinstance(last, HumanMessage):
            return {"messages": [AIMessage(f"So: {last.content}", id=f"so-{last.id}")]}
        words = [word.partition(":") for word in str(last.content).split()]
        calls = [{"name": w[0], "args": {"item": w[2]}, "id": f"{last.id}-{n}"} for n, w in enumerate(words)]
        return {"messages": [AIMessage("", id=f"calls-{last.id}", tool_calls=calls)]}

    def route(state: Talk) -> Any:
        return [Send("tools", [call]) for call in state["messages"][-1].tool_calls] or END

    tools = ToolNode([price, buy, complain])
    graph = StateGraph(Talk).add_node(model).add_node("tools", tools).add_edge("tools", "model")
    return graph.add_edge(START, "model").add_conditional_edges("model", route, ["tools", END]).compile(saver)


def quiz(saver: Any) -> Graph:
    """Two interrupts in a node, and the node in a loop."""

    def ask(state: Log) -> Log:
        return {"log": [f"{interrupt('first?')}, {interrupt('second?')}"]}

    graph = StateGraph(Log).add_node(ask).add_edge(START, "ask")
    return graph.add_conditional_edges(
        "ask", lambda state: "ask" if len(state["log"]) < 3 else END, ["ask", END]
    ).compile(saver)


class Lines(TypedDict):
    log: Annotated[list[str], operator.add]


def reviews(saver: Any) -> Graph:
    """A map over subgraphs that all ask at once, and a reduce."""
    review = StateGraph(Log, output_schema=Lines).add_sequence(
        [
            ("read", lambda state: {"log": [f"read {state['n']}"]}),
            ("judge", lambda state: {"log": [f"{state['n']}: {interrupt(state['n'])}"]}),
        ]
    )
    graph = StateGraph(Log).add_node("review", review.add_edge(START, "read").compile())
    graph.add_node("collect", lambda state: {"log": [f"{len(state['log'])} lines"]}, defer=True)
    graph.add_conditional_edges(
        START, lambda state: [Send("review", {"n": n, "log": []}) for n in range(3)], ["review"]
    )
    return graph.add_edge("review", "collect").compile(saver)


class Memory(TypedDict, total=False):
    n: int
    memory: Annotated[list[int], operator.add]


def remembering(saver: Any) -> Graph:
    """A subgraph with a memory that outlives its call, which asks before it remembers."""
    inner = StateGraph(Memory).add_sequence(
        [
            ("ask", lambda state: {"memory": [int(interrupt(f"remember {state['n']}?"))]}),
            ("total", lambda state: {"n": sum(state["memory"])}),
        ]
    )
    inner.add_edge(START, "ask")
    graph = StateGraph(Log).add_node("inner", inner.compile(checkpointer=True))
    graph.add_node("tell", lambda state: {"log": [f"n is {state['n']}"]})
    return graph.add_edge(START, "inner").add_edge("inner", "tell").compile(saver)


def forgetting(saver: Any) -> Graph:
    """A subgraph that keeps nothing, called from inside a node that then asks."""
    inner = StateGraph(Log).add_sequence([("count", lambda state: {"n": state["n"] + 1, "log": ["counted"]})])
    counter = inner.add_edge(START, "count").compile(checkpointer=False)

    def call(state: Log) -> Log:
        counted = counter.invoke({"n": state["n"], "log": []})
        return {"n": counted["n"], "log": [*counted["log"], interrupt("was it right?")]}

    return StateGraph(Log).add_node("call", call).add_edge(START, "call").compile(saver)


def calling(saver: Any) -> Graph:
    """A subgraph that inherits its saver, called from inside a node, and that asks."""
    inner = StateGraph(Log).add_sequence(
        [("first", lambda state: {"log": ["first"]}), ("ask", lambda state: {"log": [interrupt("and?")]})]
    )
    asker = inner.add_edge(START, "first").compile()

    def call(state: Log) -> Log:
        return {"log": asker.invoke({"log": ["in"]})["log"]}

    return StateGraph(Log).add_node("call", call).add_edge(START, "call").compile(saver)


def flaky(saver: Any) -> Graph:
    """Two nodes at once, one of which fails until the config says `repaired`; after them a third."""

    def fine(state: Log) -> Log:
        return {"log": ["fine"]}

    def broken(state: Log, config: RunnableConfig) -> Log:
        if not config["configurable"].get("repaired"):
            raise ValueError("out of order")
        return {"log": ["repaired"]}

    graph = StateGraph(Log).add_node(fine).add_node("last", lambda state: {"log": ["last"]}, defer=True)
    graph.add_node(broken, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=2))
    for name in ("fine", "broken"):
        graph.add_edge(START, name).add_edge(name, "last")
    return graph.compile(saver)


@cache
def delta(frequency: int) -> Builder:
    """Build graphs whose state is kept as differences, with a snapshot at every so many updates."""

    def merge(state: dict[str, int], writes: list[dict[str, int]]) -> dict[str, int]:
        return {key: value for part in (state, *writes) for key, value in part.items()}

    state = TypedDict(  # noqa: UP013 - a class here could not name `frequency`
        "state",
        {
            "log": Annotated[list[str], DeltaChannel(extend, snapshot_frequency=frequency)],
            "counts": Annotated[dict[str, int], DeltaChannel(merge, snapshot_frequency=frequency + 1)],
            "n": int,
        },
        total=False,
    )

    def work(given: Any) -> Any:
        wiped = Overwrite([f"wiped at {given['n']}"])
        return {"log": wiped if given["n"] == 2 else [f"work {given['n']}"], "n": given["n"] + 1}

    def count(given: Any) -> Any:
        return {"counts": {f"lines at {given['n']}": len(given["log"])}, "log": [f"count {given['n']}"]}

    def build(saver: Any) -> CompiledStateGraph[Any]:
        graph = StateGraph(state).add_node(work).add_node(count).add_node("twin", count)
        graph.add_edge(START, "work").add_edge("work", "count").add_edge("work", "twin")
        return graph.add_conditional_edges(
            "count", lambda given: "work" if given["n"] % 5 else END, ["work", END]
        ).compile(saver)

    return build


def sums(saver: Any) -> Graph:
    """The functional API: tasks at once, a task that fails until repaired, a question, a saved total."""

    @task
    def double(n: int) -> int:
        return 2 * n

    @task
    def check(n: int, repaired: bool) -> int:
        if not repaired:
            raise ValueError("cannot add")
        return n

    @entrypoint(checkpointer=saver)
    def flow(n: int, *, previous: int | None = None, config: RunnableConfig) -> Any:
        parts = [future.result() for future in [double(part) for part in range(n)]]
        total = check(sum(parts), bool(config["configurable"].get("repaired"))).result()
        answer = interrupt({"sum": total, "before": previous})
        return entrypoint.final(value=f"{answer}: {total}", save=(previous or 0) + total)

    return flow


class Mood(Enum):
    CALM = "calm"
    LOUD = "loud"


class Things(TypedDict, total=False):
    point: Point
    order: Order
    mood: Mood
    at: datetime
    day: date
    span: timedelta
    amount: Decimal
    ref: UUID
    seen: set[int]
    fixed: frozenset[str]
    raw: bytes
    grid: np.ndarray[Any, Any]
    listed: Annotated[list[Any], operator.add]


def things(saver: Any) -> Graph:
    """A state of every type that users put into one, which travels through an interrupt and a Send."""

    def make(state: Things) -> Things:
        return {
            "point": Point(1, 2),
            "order": Order(id="98-1143", paid=Decimal("240.00")),
            "mood": Mood.LOUD,
            "at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            "day": date(2026, 1, 2),
            "span": timedelta(days=1, microseconds=7),
            "amount": Decimal("0.10"),
            "ref": UUID(int=7),
            "seen": {1, 2, 3},
            "fixed": frozenset({"a"}),
            "raw": b"\x00\xff",
            "grid": np.arange(6, dtype=np.int16).reshape(2, 3),
            "listed": [Point(3, 4), {"nested": [Mood.CALM, None, float("inf")]}, "Zoë \x00 \U0001f600"],
        }

    def work(thing: Any) -> Things:
        return {"listed": [thing, interrupt({"mood": Mood.CALM, "about": thing})]}

    graph = StateGraph(Things).add_node(make).add_node("work", work).add_edge(START, "make")
    return graph.add_conditional_edges(
        "make", lambda state: [Send("work", state["order"])], ["work"]
    ).compile(saver)


@cache
def tree(depth: int) -> Builder:
    """Build graphs of subgraphs in subgraphs, each of which works before and after its inner one."""

    def level(left: int) -> StateGraph[Any]:
        graph = StateGraph(Log).add_node("before", lambda state: {"log": [f"before {left}"]})
        graph.add_node("inner", level(left - 1).compile() if left else ask)
        return graph.add_edge(START, "before").add_edge("before", "inner")

    def ask(state: Log) -> Log:
        return {"log": [interrupt("how deep?")]}

    build: Callable[[Any], Graph] = lambda saver: level(depth).compile(saver)  # noqa: E731
    return build
