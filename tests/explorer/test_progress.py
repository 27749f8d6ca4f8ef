"""What a run has told, as lines: each where it belongs, whatever came first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from explorer.models import ReplayEvent
from explorer.progress import progress_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

INNER = "research:5e6ba1fc-976e-3115-c071-ac1be9b44e89"


def events(told: Iterable[dict[str, Any]]) -> Iterable[ReplayEvent]:
    now = datetime.now(UTC)
    return [ReplayEvent(number=number, at=now, data=event) for number, event in enumerate(told)]


def started(node: str, ns: str = "", number: int = 1) -> dict[str, Any]:
    return {"type": "started", "task": f"{ns}{node}{number}", "node": node, "ns": ns}


def finished(node: str, ns: str = "", number: int = 1) -> dict[str, Any]:
    return {**started(node, ns, number), "type": "finished", "error": "", "seconds": 0.004, "interrupts": 0}


def stored(source: str, step: int, ns: str = "") -> dict[str, Any]:
    return {"type": "checkpoint", "id": f"{ns}{step}", "ns": ns, "parent": "", "step": step, "source": source}


def shown(*told: dict[str, Any]) -> list[tuple[str, str]]:
    lines = progress_lines(events(told), "demo", "thread", running=False)
    return [(line.title, line.state or line.source) for line in lines]


def test_what_a_run_begins_with_stands_before_a_node_that_was_quicker_than_its_storing() -> None:
    told = (started("agent"), finished("agent"), stored("fork", 1), stored("loop", 2), started("tools"))

    assert shown(*told) == [
        ("step 1", "fork"),
        ("agent", "finished"),
        ("step 2", "loop"),
        ("tools", "cut off"),
    ]


def test_a_subgraphs_beginning_stands_below_the_node_that_calls_it() -> None:
    told = (
        stored("input", 0),
        started("research"),
        started("plan", INNER),
        stored("input", -1, INNER),
        stored("loop", 0, INNER),
        finished("plan", INNER),
        finished("research"),
    )

    assert shown(*told) == [
        ("step 0", "input"),
        ("research", "finished"),
        ("step −1", "input"),
        ("plan", "finished"),
        ("step 0", "loop"),
    ]


def test_a_subgraph_that_is_called_again_begins_after_what_it_did_before() -> None:
    told = (
        started("plan", "inner"),
        stored("input", -1, "inner"),
        stored("loop", 0, "inner"),
        started("plan", "inner", 2),
        stored("input", 1, "inner"),
    )

    assert [title for title, _ in shown(*told)] == ["step −1", "plan", "step 0", "step 1", "plan"]
