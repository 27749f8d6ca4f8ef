"""The graph that replays are timed with: fifty supersteps of next to nothing."""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph

STEPS = 50


class State(TypedDict, total=False):
    log: Annotated[list[int], operator.add]


builder = StateGraph(State).add_node("count", lambda state: {"log": [len(state["log"])]})
builder.add_edge(START, "count")
builder.add_conditional_edges(
    "count", lambda state: END if len(state["log"]) >= STEPS else "count", ["count", END]
)
graph = builder.compile()
