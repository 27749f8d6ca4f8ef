"""An agent whose steps take half a second, for replays that are watched in a browser."""

from __future__ import annotations

import operator
import time
from typing import Annotated, TypedDict

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def look(state: State) -> State:
    time.sleep(0.5)
    print("looked <b>around</b>")
    return {"log": ["looked"]}


def think(state: State) -> State:
    time.sleep(0.5)
    said = GenericFakeChatModel(messages=iter([AIMessage("I have <i>thought</i> about it")])).invoke("?")
    return {"log": [str(said.content)]}


def ask(state: State) -> State:
    return {"log": [interrupt({"question": "Shall I <u>go on</u>?"})]}


def act(state: State) -> State:
    time.sleep(0.5)
    if state["log"][-1] == "fail":
        raise RuntimeError("told to <b>fail</b>")
    return {"log": ["acted"]}


def wait(state: State) -> State:
    time.sleep(60)
    return {}


builder = StateGraph(State).add_sequence([look, think, ask, act]).add_edge(START, "look")
agent = builder.compile()
waiting = StateGraph(State).add_sequence([look, wait]).add_edge(START, "look").compile()
