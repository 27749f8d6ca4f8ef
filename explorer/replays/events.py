"""What a run tells, kept within bounds: a graph may say more than anybody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from django.utils import timezone

from explorer.models import Replay, ReplayEvent
from explorer.running.wording import clipped

if TYPE_CHECKING:
    from collections.abc import Iterable

Event: TypeAlias = dict[str, Any]

EVENTS = 2_000  # of one run; what comes after is counted
SPOKEN = 100_000  # characters of a model's words that are kept of one run
FIELD = 4_000  # characters of a text of an event
ERROR, TRACEBACK = 4_000, 60_000
TEXTS = {
    "loaded": ("langgraph",),
    "checkpoint": ("id", "ns", "parent", "source"),
    "started": ("task", "node", "ns"),
    "kept": ("task", "node", "ns"),
    "finished": ("task", "node", "ns", "error"),
    "text": ("node", "ns", "message", "text"),
    "custom": ("ns", "text"),
}
NUMBERS = {"checkpoint": ("step",), "finished": ("seconds", "interrupts")}


def keep(replay: Replay, told: Iterable[Event]) -> int:
    """Store the events that there is room for, count the others, and return how many were told."""
    events = _joined(_known(told))
    now = timezone.now()
    stored = []
    last = replay.told.last() if events and events[0]["type"] == "text" else None
    for event in events:
        if event["type"] == "checkpoint":
            replay.checkpoints += 1
            if event["ns"] == "":
                replay.made = event["id"]
        if event["type"] == "text":
            room = SPOKEN - replay.spoken
            replay.spoken += min(len(event["text"]), room)
            event["text"] = event["text"][: max(room, 0)]
        if last is not None and _same(last.data, event):
            last.data["text"] += event["text"]
            last.save(update_fields=["data"])
            last = None
            continue
        if replay.events >= EVENTS or (event["type"] == "text" and not event["text"]):
            replay.dropped += 1
            continue
        replay.events += 1
        stored.append(ReplayEvent(replay=replay, number=replay.events, at=now, data=event))
    ReplayEvent.objects.bulk_create(stored)
    return len(events)


def _known(told: Iterable[Event]) -> Iterable[Event]:
    """Return what is understood of each event: a worker of any kind may tell anything."""
    for event in told:
        kind = event.get("type")
        if not isinstance(kind, str) or kind not in TEXTS:
            continue
        texts = {name: clipped(str(event.get(name) or ""), FIELD) for name in TEXTS[kind]}
        numbers = {name: _number(event.get(name)) for name in NUMBERS.get(kind, ())}
        yield {"type": kind, **texts, **numbers}


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e9 else None  # NaN is not less, either


def _joined(events: Iterable[Event]) -> list[Event]:
    """Join what a model says in many pieces."""
    joined: list[Event] = []
    for event in events:
        last = joined[-1] if joined else {}
        if _same(last, event):
            last["text"] += event["text"]
        else:
            joined.append(event)
    return joined


def _same(last: Event, event: Event) -> bool:
    """Tell whether a piece of a model's words goes on with the last one."""
    return event["type"] == "text" and all(
        last.get(key) == event[key] for key in ("type", "message", "ns", "node")
    )
