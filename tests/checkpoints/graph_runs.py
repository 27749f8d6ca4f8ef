"""Runs of a scenario, with one saver or with several in turns, and what they leave behind as plain text."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Generator
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from saver_graphs import plain

if TYPE_CHECKING:
    from collections.abc import Sequence


class Call(NamedTuple):
    """One call of a graph, to be built with the saver whose turn it is."""

    build: Any
    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    raises: Any


Scenario: TypeAlias = Callable[[], Generator[Call, Any, None]]


def call(build: Any, method: str, *args: Any, raises: Any = (), **kwargs: Any) -> Call:
    """Name a method of a graph as it is called synchronously. An expected error is its outcome."""
    return Call(build, method, args, kwargs, raises)


def play(scenario: Scenario, savers: Sequence[Any]) -> list[Any]:
    """Run the scenario and return the outcome of its every call, and the history of its every thread."""
    outcomes: list[Any] = []
    turns, steps, graph = cycle(savers), _with_histories(scenario), cache(lambda build, saver: build(saver))
    try:
        step = next(steps)
        while True:
            outcomes.append(_outcome(step, graph(step.build, next(turns))))
            step = steps.send(outcomes[-1])
    except StopIteration:
        return outcomes


async def aplay(scenario: Scenario, savers: Sequence[Any]) -> list[Any]:
    """Do what `play` does with the asynchronous methods."""
    outcomes: list[Any] = []
    turns, steps, graph = cycle(savers), _with_histories(scenario), cache(lambda build, saver: build(saver))
    try:
        step = next(steps)
        while True:
            outcomes.append(await _aoutcome(step, graph(step.build, next(turns))))
            step = steps.send(outcomes[-1])
    except StopIteration:
        return outcomes


def _outcome(step: Call, graph: Any) -> Any:
    try:
        told = getattr(graph, step.method)(*step.args, **step.kwargs)
        return _sorted(list(told) if inspect.isgenerator(told) else told)
    except step.raises as error:
        return error


async def _aoutcome(step: Call, graph: Any) -> Any:
    try:
        told = getattr(graph, f"a{step.method}")(*step.args, **step.kwargs)
        return _sorted([each async for each in told] if inspect.isasyncgen(told) else await told)
    except step.raises as error:
        return error


def _sorted(told: Any) -> Any:
    if isinstance(told, dict) and "__interrupt__" in told:  # in the order in which their tasks came to them
        told["__interrupt__"].sort(key=lambda interrupt: repr(interrupt.value))
    return told


def _with_histories(scenario: Scenario) -> Generator[Call, Any, None]:
    seen, told, steps = {}, None, scenario()
    try:
        while True:
            step = steps.send(told)
            config = next(each for each in step.args if isinstance(each, dict) and "configurable" in each)
            seen[config["configurable"]["thread_id"]] = step.build
            told = yield step
    except StopIteration:
        pass
    for thread_id, build in seen.items():
        for state in (yield call(build, "get_state_history", {"configurable": {"thread_id": thread_id}})):
            if any(task.state for task in state.tasks):
                yield call(build, "get_state", state.config, subgraphs=True)


def rows(stored: Sequence[tuple[Any, ...]]) -> list[str]:
    """Return what a backend has stored as texts without ids and times.

    Subgraphs that run at once write in any order: their namespaces follow in the order of their tasks.
    """
    spaces: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in stored:
        spaces[row[:2]].append(row[2:])
    text = ""
    while spaces:
        first = min(
            spaces, key=lambda key: (key[0], _depth(key[1]), text.find(key[1].rpartition(":")[2]), key[1])
        )
        text += f"{first[0]} {spaces.pop(first)}"
    return lines(plain(Raw(text)))


class Raw(str):
    """A text that is its own repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _depth(checkpoint_ns: str) -> int:
    return len(checkpoint_ns.split("|")) if checkpoint_ns else 0


def lines(text: str) -> list[str]:
    """Cut a long repr where a difference is easy to find."""
    return text.split(", ")
