"""What LangGraph streams of a run, as events: small, of plain data, without the state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from explorer.running.wording import clipped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from langgraph.types import StreamMode

TEXT = 4_000  # characters of one piece of a model's words
MODES: Final[list[StreamMode]] = ["tasks", "messages", "custom"]


class Progress:
    """Turns the parts of a stream into events. A task is timed from its start to its end.

    LangGraph tells that a task starts also where it uses what the task has stored when it `finished` before.
    If it runs it all the same, it tells of its end.
    """

    def __init__(self, finished: Collection[str]) -> None:
        self._finished = finished
        self._started: dict[str, float] = {}

    def events(self, namespace: tuple[str, ...], mode: str, data: Any) -> Iterator[dict[str, Any]]:
        """Yield the events that one part of the stream means."""
        ns = "|".join(namespace)
        match mode, data:
            case "tasks", {"triggers": _}:
                self._started[data["id"]] = time.monotonic()
                kind = "kept" if data["id"] in self._finished else "started"
                yield {"type": kind, "task": data["id"], "node": data["name"], "ns": ns}
            case "tasks", {"id": str() as id}:
                took = time.monotonic() - self._started.pop(id, time.monotonic())
                yield {
                    "type": "finished",
                    "task": id,
                    "node": data["name"],
                    "ns": ns,
                    "seconds": round(took, 4),
                    "error": clipped(str(data.get("error") or ""), 2_000),
                    "interrupts": len(data.get("interrupts") or ()),
                }
            case "messages", (message, dict() as about):
                if text := _text(message):
                    node = str(about.get("langgraph_node") or "")
                    id = str(getattr(message, "id", "") or "")
                    yield {"type": "text", "node": node, "ns": ns, "message": id, "text": clipped(text, TEXT)}
            case "custom", _:
                yield {"type": "custom", "ns": ns, "text": clipped(repr(data), 2_000)}


def _text(message: Any) -> str:
    """Return the words of a piece that a model streams; whole messages, as of tools, are in the state."""
    if not type(message).__name__.endswith("Chunk"):
        return ""
    content = getattr(message, "content", "")
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in content if isinstance(part, dict)]
    return "".join(part for part in parts if isinstance(part, str))
