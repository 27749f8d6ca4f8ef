"""The first human words of a thread, to tell one thread from another in a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from checkpoints.channels import START
from checkpoints.inert import payload
from checkpoints.messages import spoken

if TYPE_CHECKING:
    from checkpoints.snapshot import Snapshot

LENGTH = 200
MESSAGES_SEEN = 4


def preview(first: Snapshot | None, head: Snapshot | None) -> str:
    """Return the first human message of a thread in one line, empty when there is none."""
    for state in _states(first, head):
        for value in state.values():
            if text := _first_human(value):
                return " ".join(text[: LENGTH * 2].split())[:LENGTH]
    return ""


def _states(first: Snapshot | None, head: Snapshot | None) -> Iterator[Mapping[str, Any]]:
    if first is not None:
        started = first.values.get(START)
        state = payload(started)
        if isinstance(state, Mapping):
            yield state
        else:
            yield {START: started}
    if head is not None:
        yield head.values


def _first_human(value: Any) -> str | None:
    if not isinstance(value, (list, tuple)):
        return None
    for item in islice(value, MESSAGES_SEEN):
        match spoken(item):
            case None:
                return None
            case "human", text if text:
                return text
    return None
