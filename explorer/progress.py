"""What a run has told so far, as the lines that its page shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import dropwhile
from typing import TYPE_CHECKING, Any

from explorer import addresses
from explorer.wording import duration, number, short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from explorer.models import ReplayEvent

LINES = 400  # of a run that a page shows: the first and the last of them
WORDS = 20_000  # characters of a model that a page shows of one message


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """One thing that happened: a `node`, a `checkpoint`, words of a `model`, or what a node told of itself.

    `state` of a node is running, finished, failed, waiting, or kept: what it stored before is used.
    `depth` is that of its subgraph.
    """

    kind: str
    title: str
    depth: int
    state: str = ""
    took: str = ""
    text: str = ""
    href: str = ""
    source: str = ""
    since: str = ""
    ns: str = ""


def progress_lines(
    events: Iterable[ReplayEvent], store: str, thread: str, *, running: bool
) -> tuple[ProgressLine, ...]:
    """Return the lines in the order in which things began. What was not told to end has been cut off."""
    lines: dict[str, ProgressLine] = {}
    for event in events:
        _add(lines, event, store, thread)
    return tuple(
        line if running or line.state != "running" else replace(line, state="cut off")
        for line in lines.values()
    )


def _add(lines: dict[str, ProgressLine], told: ReplayEvent, store: str, thread: str) -> None:
    at, event = told.number, told.data
    ns = event.get("ns") or ""
    depth = min(ns.count("|") + 1 if ns else 0, 4)
    match event["type"]:
        case "started" | "kept" as kind:
            state = "running" if kind == "started" else "kept"
            since = told.at.isoformat() if kind == "started" else ""
            lines[f"task {event['task']}"] = ProgressLine(
                "node", event["node"], depth, state, since=since, ns=ns
            )
        case "finished":
            key = f"task {event['task']}"
            known = lines.get(key) or ProgressLine("node", event["node"], depth, ns=ns)
            lines[key] = replace(
                known, state=_state(event), took=_took(event.get("seconds")), text=event["error"], since=""
            )
        case "checkpoint":
            later = [] if event["source"] == "loop" else _begun(lines, ns)
            lines[f"checkpoint {at}"] = ProgressLine(
                kind="checkpoint",
                title=f"step {number(event.get('step'))}",
                depth=depth,
                text=short(event["id"]),
                href=addresses.checkpoint(store, thread, event["id"], ns=ns) if store else "",
                source=event["source"],
                ns=ns,
            )
            lines.update([(key, lines.pop(key)) for key in later])
        case "text":
            key = f"text {event['ns']} {event['message'] or event['node']}"
            known = lines.get(key) or ProgressLine("model", event["node"], depth)
            lines[key] = replace(known, text=(known.text + event["text"])[-WORDS:])
        case "custom":
            lines[f"custom {at}"] = ProgressLine("custom", "told", depth, text=event["text"])


def _begun(lines: dict[str, ProgressLine], ns: str) -> list[str]:
    """Return the lines from the first node on that has begun since the last checkpoint of its namespace.

    What a step begins with is stored while its nodes run already: these may be told of before, and end.
    """
    since: list[str] = []
    for key, line in reversed(lines.items()):
        if line.ns == ns and line.kind == "checkpoint":
            break
        since.append(key)
    return list(dropwhile(lambda key: (lines[key].kind, lines[key].ns) != ("node", ns), reversed(since)))


def _state(event: dict[str, Any]) -> str:
    if event["error"]:
        return "failed"
    return "waiting" if event.get("interrupts") else "finished"


def _took(seconds: float | None) -> str:
    return duration(timedelta(seconds=seconds)).removeprefix("+") if seconds is not None else ""
