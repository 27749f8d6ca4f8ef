"""Agents for the tests of workers. `LOG` names a file that tells what ran, and when."""

from __future__ import annotations

import operator
import os
import signal
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    n: int


class Talk(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]


def told(text: str) -> None:
    """Write a line that survives whatever happens to this process."""
    if path := os.environ.get("LOG"):
        with Path(path).open("a") as log:
            log.write(f"{time.time()} {os.getpid()} {text}\n")


def steps(*nodes: Any) -> Any:
    return StateGraph(State).add_sequence(list(nodes)).add_edge(START, nodes[0].__name__).compile()


def first(state: State) -> State:
    told("first begins")
    time.sleep(0.5)
    told("first ends")
    return {"log": ["first"]}


def second(state: State) -> State:
    told("second begins")
    time.sleep(0.5)
    told("second ends")
    return {"log": ["second"]}


async def third(state: State) -> State:
    return {"log": ["third"]}


def ask(state: State) -> State:
    return {"log": [interrupt("fine?")]}


def fail(state: State) -> State:
    raise ValueError("cannot divide <b>pallets</b> by zero")


def leave(state: State) -> State:
    sys.exit("the node gives up")


def vanish(state: State) -> State:
    os._exit(7)


def crash(state: State) -> State:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def fork(state: State) -> State:
    if os.fork() == 0:
        time.sleep(30)  # and holds the pipes of its parent open
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def read(state: State) -> State:
    return {"log": [input()]}


def hang(state: State) -> State:
    told("hang begins")
    while True:
        time.sleep(0.05)


def spin(state: State) -> State:
    told("spin begins")
    while True:
        pass


def babble(state: State) -> State:
    for number in range(200_000):
        print(f"line {number} of far too many")
    sys.stdout.write("x" * 5_000_000)
    return {"log": ["babbled"]}


def report(state: State) -> State:
    write = get_stream_writer()
    for number in range(20_000):
        write({"number": number, "text": "x" * 100})
    return {"log": ["reported"]}


def speak(state: Talk) -> Talk:
    model = GenericFakeChatModel(messages=iter([AIMessage("one two three four five")]))
    return {"messages": [model.invoke(state["messages"])]}


slow = steps(first, second, third)
asking = steps(first, ask, third)
failing = steps(third, fail)
leaving = steps(third, leave)
vanishing = steps(third, vanish)
crashing = steps(third, crash)
forking = steps(third, fork)
reading = steps(third, read)
hanging = steps(third, hang)
spinning = steps(third, spin)
babbling = steps(babble)
reporting = steps(report)
talking = StateGraph(Talk).add_node(speak).add_edge(START, "speak").compile()
not_a_graph = {"graph": 1}
builder = StateGraph(State).add_node("third", third).add_edge(START, "third")


def _again(state: State) -> State:
    told("again begins")
    time.sleep(0.1)
    return {"log": ["again"]}


endless = (
    StateGraph(State).add_node("again", _again).add_edge(START, "again").add_edge("again", "again").compile()
)


def configured(config: Any) -> Any:
    """Make a graph that tells what it was configured with."""
    told_of = config["configurable"].get("tenant", "nobody")
    graph = StateGraph(State).add_node("tell", lambda state: {"log": [f"for {told_of}"]})
    return graph.add_edge(START, "tell")


async def made_later() -> Any:
    return slow


@contextmanager
def entered() -> Any:
    told("entered")
    yield slow
    told("left")


@asynccontextmanager
async def entered_later(config: Any) -> Any:
    told("entered later")
    yield slow
    told("left later")
