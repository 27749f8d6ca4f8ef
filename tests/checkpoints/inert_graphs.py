"""A graph whose state holds one of everything that LangGraph's serializer knows."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
from collections import deque
from contextlib import closing, suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Send, interrupt
from pydantic import BaseModel, SecretStr

ROWS = "SELECT type, checkpoint FROM checkpoints UNION ALL SELECT type, value FROM writes"


class Crate(BaseModel):
    label: str
    size: int


@dataclasses.dataclass
class Pallet:
    crates: list[Crate]
    due: date


class Point(NamedTuple):
    x: int
    y: int


class Zone(Enum):
    COLD = "cold"


def extend(state: list[str] | None, writes: list[list[str]]) -> list[str]:
    return [*(state or []), *(item for write in writes for item in write)]


class Warehouse(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    log: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=1)]
    zoo: dict[Any, Any]
    raw: bytes
    buffer: bytearray
    nothing: None


ZOO: dict[Any, Any] = {
    "pydantic": Crate(label="<b>Ω</b>", size=2),
    "dataclass": Pallet([Crate(label="in", size=1)], date(2026, 2, 3)),
    "namedtuple": [Point(1, 2)],
    "enum": Zone.COLD,
    "uuid": UUID(int=5),
    "decimal": Decimal("1.10"),
    "path": Path("/tmp/a"),
    "set": {1},
    "frozenset": frozenset({"q"}),
    "deque": deque([1, 2]),
    "datetime": datetime(2026, 1, 2, tzinfo=UTC),
    "zoned": datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Oslo")),
    "date": date(2026, 1, 2),
    "time": time(1, 2, 3),
    "timedelta": timedelta(days=1, seconds=2),
    "zone": ZoneInfo("Europe/Oslo"),
    "ip": ip_address("::1"),
    "network": ip_network("10.0.0.0/8"),
    "regex": re.compile("a+", re.IGNORECASE),
    "numpy": np.arange(6, dtype="<i4").reshape(2, 3),
    "fortran": np.asfortranarray(np.ones((2, 3))),
    "secret": SecretStr("hush"),
    "send": Send("store", {"x": 1}),
    "numbers": [0, -1, 2**63, -(2**63), 1.5, float("inf"), float("nan"), True, False, None],
    "nested": {"a": [{"b": [{UUID(int=1)}]}]},
    "text": "é\0😀" * 20,
    7: "an int key",
    None: "no key",
    (1, "x"): "a tuple key",
    b"k": "a bytes key",
}


def receive(state: Warehouse) -> dict[str, Any]:
    return {"zoo": ZOO, "raw": b"\xff\x00", "buffer": bytearray(b"\x01"), "nothing": None, "log": ["in"]}


def fan_out(state: Warehouse) -> list[Send]:
    return [Send("store", {"crate": Crate(label=label, size=1)}) for label in "ab"]


def store(order: dict[str, Any]) -> dict[str, Any]:
    call = {"name": "stow", "args": {"label": order["crate"].label}, "id": "call"}
    return {"messages": [AIMessage("stowed", tool_calls=[call])], "log": ["stored"]}


def ask(state: Warehouse) -> dict[str, Any]:
    if len(state["messages"]) > 4:
        raise ValueError("no room")
    return {"log": [interrupt({"question": "open the gate?", "by": Zone.COLD})]}


def fill(path: Path) -> None:
    """Run a thread to an interrupt and one to a failure, with the official saver."""
    builder = StateGraph(Warehouse)
    for node in (receive, store, ask):
        builder.add_node(node)
    builder.add_edge(START, "receive")
    builder.add_conditional_edges("receive", fan_out, ["store"])
    builder.add_edge("store", "ask")
    builder.add_edge("ask", END)
    with SqliteSaver.from_conn_string(str(path)) as saver, suppress(ValueError):
        graph = builder.compile(checkpointer=saver)
        for messages in (1, 4):
            given = {"messages": [HumanMessage(f"message {i}") for i in range(messages)]}
            graph.invoke(given, {"configurable": {"thread_id": str(messages)}})


def rows(path: Path) -> list[tuple[str, bytes]]:
    """Return the type and the bytes of every checkpoint and write in a file."""
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(ROWS).fetchall()
