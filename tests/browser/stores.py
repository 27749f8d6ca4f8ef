"""Stores for the browser: every shape, text that looks like markup, and more threads than a page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from graphs import ask_order, asking, config, joining, official_saver, run_all
from langgraph.graph import START, StateGraph

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "<img src=x onerror=alert(1)>"
REQUEST = '<a href=/ hx-get=/ hx-trigger=load class="injected">'
LONG_ID = "long-" + "x" * 300
CROWD = 60


def write_shapes(place: Path | str) -> None:
    with official_saver(place) as saver:
        run_all(saver)
        _one_step(saver, {IMAGE: REQUEST, "text": IMAGE}, f"{IMAGE}{REQUEST}", **{IMAGE: REQUEST})
        _one_step(saver, {"text": "y" * 5_000}, LONG_ID, user_id="z" * 300)


def write_forkable(path: Path) -> None:
    """Write threads that tests may write to: of each kind one for a browser with JavaScript, one without."""
    with official_saver(path) as saver:
        for javascript in (True, False):
            ask_order(saver, f"chat-{javascript}", user_id="ana")
            for kind in ("promoted", "copied", "edited", "compared"):
                asking(saver).invoke({"log": []}, config(f"{kind}-{javascript}", user_id="ben"))
        graph = joining(saver)
        graph.invoke({"log": []}, config("branches", user_id="ben"))
        for state in list(graph.get_state_history(config("branches")))[:3]:
            graph.invoke(None, graph.update_state(state.config, {"log": ["x"]}, as_node="a"))


def write_crowd(path: Path) -> None:
    with official_saver(path) as saver:
        for number in range(CROWD):
            _one_step(saver, {"text": "hello"}, f"visitor-{number}")


def _one_step(saver: Any, values: dict[str, str], thread_id: str, **metadata: str) -> None:
    state: Any = TypedDict("state", dict.fromkeys(values, str), total=False)
    node = f"node {IMAGE}"
    graph = StateGraph(state).add_node(node, lambda _: values).add_edge(START, node)
    graph.compile(checkpointer=saver).invoke(values, config(thread_id, **metadata))
