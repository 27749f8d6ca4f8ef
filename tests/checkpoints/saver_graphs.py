"""Graphs that use everything a saver stores, and a way to compare what two runs of them left behind."""

from __future__ import annotations

import operator
import re
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

CITIES = ("Oslo", "Rome", "Lima")
CHECKPOINTS = """\
SELECT thread_id, checkpoint_id, checkpoint_ns, parent_checkpoint_id, metadata, type, checkpoint
FROM checkpoints ORDER BY checkpoint_id, checkpoint_ns"""
WRITES = """\
SELECT thread_id, checkpoint_id, checkpoint_ns, task_path, idx, task_id, channel, type, value
FROM writes ORDER BY checkpoint_id, checkpoint_ns, task_path, idx"""


def extend(state: list[str] | None, writes: list[list[str]]) -> list[str]:
    return [*(state or []), *(item for write in writes for item in write)]


class Trip(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    forecasts: Annotated[list[str], operator.add]
    log: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=4)]
    approved: str


def plan(state: Trip) -> dict[str, Any]:
    calls = [{"name": "forecast", "args": {"city": city}, "id": f"call-{city}"} for city in CITIES]
    return {"messages": [AIMessage("", id="plan", tool_calls=calls)], "log": ["planned"]}


def fan_out(state: Trip) -> list[Send]:
    return [Send("forecast", call) for call in state["messages"][-1].tool_calls]


def forecast(call: dict[str, Any]) -> dict[str, Any]:
    city = call["args"]["city"]
    answer = ToolMessage(f"sun in {city}", tool_call_id=call["id"], id=f"tool-{city}")
    return {"messages": [answer], "forecasts": [city], "log": [city]}


def ask(state: Trip) -> dict[str, Any]:
    return {"approved": interrupt({"question": "Book it?"}), "log": ["asked"]}


def book(state: Trip) -> dict[str, Any]:
    if state["approved"] == "no":
        raise ValueError("not booked")
    return {"messages": [AIMessage("booked", id="booked")], "log": ["booked"]}


def trip(saver: BaseCheckpointSaver[str]) -> CompiledStateGraph[Any]:
    approval = StateGraph(Trip).add_node(ask).add_edge(START, "ask").compile()
    graph = StateGraph(Trip).add_node(plan).add_node(forecast).add_node("approve", approval).add_node(book)
    graph.add_edge(START, "plan").add_conditional_edges("plan", fan_out, ["forecast"])
    graph.add_edge("forecast", "approve").add_edge("approve", "book").add_edge("book", END)
    return graph.compile(checkpointer=saver)


def thread(thread_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "user_id": f"user of {thread_id}"}}


def travel(saver: BaseCheckpointSaver[str]) -> list[Any]:
    """Run a trip with an interrupt, a resume, a fork and a failure; return all states of its threads."""
    graph = trip(saver)
    for name, answer in (("booked", "yes"), ("failed", "no")):
        graph.invoke({"messages": [("user", "Where to?")], "log": ["began"]}, thread(name))
        with suppress(ValueError):
            graph.invoke(Command(resume=answer), thread(name))
    planned = next(s for s in graph.get_state_history(thread("booked")) if s.next == ("forecast",) * 3)
    graph.update_state(planned.config, {"forecasts": ["Paris"]}, as_node="plan")
    graph.invoke(None, thread("booked"))
    return [list(graph.get_state_history(thread(name))) for name in ("booked", "failed")]


async def atravel(saver: BaseCheckpointSaver[str]) -> list[Any]:
    """Do what `travel` does, asynchronously."""
    graph = trip(saver)
    for name, answer in (("booked", "yes"), ("failed", "no")):
        await graph.ainvoke({"messages": [("user", "Where to?")], "log": ["began"]}, thread(name))
        with suppress(ValueError):
            await graph.ainvoke(Command(resume=answer), thread(name))
    history = [state async for state in graph.aget_state_history(thread("booked"))]
    planned = next(state for state in history if state.next == ("forecast",) * 3)
    await graph.aupdate_state(planned.config, {"forecasts": ["Paris"]}, as_node="plan")
    await graph.ainvoke(None, thread("booked"))
    return [[s async for s in graph.aget_state_history(thread(name))] for name in ("booked", "failed")]


def dump(path: Path | str) -> list[str]:
    """Return the rows of both tables, decoded, as texts without ids and times."""
    loads = JsonPlusSerializer().loads_typed
    with closing(sqlite3.connect(path)) as conn:
        checkpoints = conn.execute(CHECKPOINTS).fetchall()
        writes = conn.execute(WRITES).fetchall()
    rows = [(*row[:-2], loads(row[-2:])) for row in (*checkpoints, *writes)]
    return plain(rows).split("), (")


def plain(value: Any) -> str:
    """Return the value's repr with times cut and every id replaced by its order of appearance."""
    names: dict[str, str] = {}
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "TIME", repr(value))
    text = re.sub(r"(\b\d{32})\.[\d.e-]+", r"\1", text)  # the random part of a channel version
    ids = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32}\b"
    return re.sub(ids, lambda found: names.setdefault(found[0], f"ID{len(names)}"), text)
