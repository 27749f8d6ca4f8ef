"""Real graphs for the tests: one of every shape that a store can hold, run with any saver."""

from __future__ import annotations

import operator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypedDict
from uuid import UUID

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

Saver = Any
Graph = Any
AWKWARD = "<script>alert('id')</script>/../?x=1&y=2#f 100% ~é\n"
HUMAN = "Where is my order <b>98-1143</b>?"


class Written(NamedTuple):
    """A store, its threads' graphs by thread id, and what LangGraph says of every checkpoint.

    `path` is a file's path, or a database's URL.
    """

    path: Any
    graphs: dict[str, Any]
    states: list[tuple[str, Any]]


class Order(BaseModel):
    id: str
    paid: Decimal


@dataclass
class Point:
    x: int
    y: int


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    order: Order
    point: Point
    seen: set[int]
    at: datetime
    ref: UUID
    big: str


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    n: int


def chat(saver: Saver) -> Graph:
    def agent(state: Chat) -> Chat:
        if isinstance(state["messages"][-1], ToolMessage):
            return {"messages": [AIMessage("It was shipped.", id=f"done-{len(state['messages'])}")]}
        call = {"name": "lookup_order", "args": {"id": "98-1143", "deep": {"a": [1, 2]}}, "id": "call-1"}
        return {"messages": [AIMessage("", tool_calls=[call], id=f"ai-{len(state['messages'])}")]}

    def tools(state: Chat) -> Chat:
        return {
            "messages": [ToolMessage("shipped", tool_call_id="call-1", id=f"tool-{len(state['messages'])}")],
            "order": Order(id="98-1143", paid=Decimal("240.00")),
            "point": Point(1, 2),
            "seen": {1, 2, 3},
            "at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            "ref": UUID(int=7),
        }

    graph = (
        StateGraph(Chat).add_node(agent).add_node(tools).add_edge(START, "agent").add_edge("tools", "agent")
    )
    graph.add_conditional_edges(
        "agent", lambda state: "tools" if state["messages"][-1].tool_calls else END, ["tools", END]
    )
    return graph.compile(checkpointer=saver)


def asking(saver: Saver) -> Graph:
    def prepare(state: Log) -> Log:
        return {"log": ["prepared"]}

    def ask(state: Log) -> Log:
        return {"log": [interrupt({"question": "Approve the refund?", "amount": 240})]}

    def ship(state: Log) -> Log:
        return {"log": ["shipped"]}

    return StateGraph(Log).add_sequence([prepare, ask, ship]).add_edge(START, "prepare").compile(saver)


def failing(saver: Saver) -> Graph:
    def fine(state: Log) -> Log:
        return {"log": ["fine"]}

    def broken(state: Log) -> Log:
        raise ValueError("cannot divide <b>pallets</b> by zero")

    graph = StateGraph(Log).add_node(fine).add_node(broken)
    return graph.add_edge(START, "fine").add_edge(START, "broken").compile(saver)


def fan_out(saver: Saver) -> Graph:
    def plan(state: Log) -> Log:
        return {"log": ["plan"]}

    def work(state: dict[str, Any]) -> Log:
        if state["n"] == 1:
            interrupt("is one fine?")
        return {"log": [f"work {state['n']}"]}

    def collect(state: Log) -> Log:
        return {"log": ["collected"]}

    graph = StateGraph(Log).add_node(plan).add_node("work", work).add_node("collect", collect, defer=True)
    graph.add_edge(START, "plan").add_edge("work", "collect")
    graph.add_conditional_edges("plan", lambda state: [Send("work", {"n": n}) for n in range(3)], ["work"])
    return graph.compile(checkpointer=saver)


def joining(saver: Saver) -> Graph:
    def step(name: str) -> Any:
        return lambda state: {"log": [name]}

    graph = StateGraph(Log)
    for name in ("a", "b1", "b2", "join"):
        graph.add_node(name, step(name))
    graph.add_edge(START, "a").add_edge("a", "b1").add_edge("a", "b2").add_edge(["b1", "b2"], "join")
    return graph.compile(checkpointer=saver)


def nested(saver: Saver) -> Graph:
    inner = StateGraph(Log).add_node("leaf", lambda state: {"log": [interrupt("go on?")]})
    middle = (
        StateGraph(Log).add_node("inner", inner.add_edge(START, "leaf").compile()).add_edge(START, "inner")
    )
    outer = StateGraph(Log).add_node("middle", middle.compile()).add_edge(START, "middle")
    return outer.compile(checkpointer=saver)


def functional(saver: Saver) -> Graph:
    @task
    def double(n: int) -> int:
        return n * 2

    @entrypoint(checkpointer=saver)
    def flow(n: int) -> int:
        doubled = double(n).result()
        interrupt("publish?")
        return doubled

    return flow


def config(thread_id: str, **metadata: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id}, "metadata": metadata}


def ask_order(saver: Saver, thread_id: str, **metadata: Any) -> Graph:
    graph = chat(saver)
    graph.invoke({"messages": [HumanMessage(HUMAN, id="h-1")]}, config(thread_id, **metadata))
    return graph


def run_all(saver: BaseCheckpointSaver[Any]) -> dict[str, CompiledStateGraph[Any]]:
    """Run every graph and return it by the id of the thread it ran on."""
    graphs: dict[str, Graph] = {"chat": ask_order(saver, "chat", user_id="ana")}
    graphs[AWKWARD] = ask_order(saver, AWKWARD, user_id="<img src=x>")
    for name, build in {"asking": asking, "resumed": asking, "fan-out": fan_out, "joining": joining}.items():
        graphs[name] = build(saver)
        graphs[name].invoke({"log": [], "n": 1}, config(name, user_id="ben"))
    graphs["resumed"].invoke(Command(resume="yes"), config("resumed", user_id="ben"))
    graphs["nested"] = nested(saver)
    graphs["nested"].invoke({"log": []}, config("nested"))
    graphs["functional"] = functional(saver)
    graphs["functional"].invoke(21, config("functional"))
    graphs["failing"] = failing(saver)
    with pytest.raises(ValueError, match="pallets"):
        graphs["failing"].invoke({"log": []}, config("failing"))
    graphs["forked"] = _forked(saver)
    graphs["big"] = chat(saver)
    graphs["big"].update_state(
        config("big"), {"big": "x" * 200_000, "messages": [AIMessage("long")]}, as_node="agent"
    )
    return graphs


def _forked(saver: Saver) -> Graph:
    graph = joining(saver)
    graph.invoke({"log": []}, config("forked", user_id="ana"))
    old = next(at for at in graph.get_state_history(config("forked")) if at.next == ("b1", "b2"))
    graph.invoke(None, graph.update_state(old.config, {"log": ["edited"]}))
    graph.update_state(old.config, None, as_node="__copy__")
    return graph


def histories(graphs: dict[str, Graph]) -> Iterator[tuple[str, Any]]:
    """Yield every state that LangGraph sees in these threads, with the thread's id."""
    for thread_id, graph in graphs.items():
        for state in graph.get_state_history(config(thread_id)):
            yield thread_id, state


@contextmanager
def official_saver(place: Path | str) -> Iterator[Any]:
    """Open LangGraph's own saver of a file's path or a database's URL."""
    kind: Any = PostgresSaver if str(place).startswith("postgresql://") else SqliteSaver
    with kind.from_conn_string(str(place)) as saver:
        saver.setup()
        yield saver


def written_to(place: Any) -> Written:
    """Write a thread of every shape, and return what LangGraph says of each checkpoint."""
    with official_saver(place) as saver:
        ran = run_all(saver)
        return Written(place, ran, list(histories(ran)))


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A file with a thread of every shape, and what LangGraph says of each checkpoint."""
    return written_to(tmp_path_factory.mktemp("written") / "agent store.sqlite")
