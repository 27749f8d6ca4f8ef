"""A step in one line: who wrote it, and what it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checkpoints.channels import START
from checkpoints.messages import Message, message
from checkpoints.outline import brief
from checkpoints.preview import preview
from explorer.bounds import CHANNELS, first
from explorer.changes import is_own

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checkpoints.steps import Step

CHIPS_SHOWN = 6


def title(step: Step) -> str:
    """Name a step by the nodes that wrote it, else by what made it."""
    if step.wrote:
        return ", ".join(step.wrote)
    return step.at.source or "checkpoint"


def summary(step: Step) -> str:
    """Say in one line what the step changed."""
    at = step.at
    if at.source == "input" and START in at.values:
        return preview(at, None) or brief(at.values[START], 160)
    before = step.parent.values if step.parent else {}
    deltas = step.deltas
    names, beyond = first(_changed(step), CHIPS_SHOWN)
    texts = [_change(name, before.get(name), at.values.get(name), deltas) for name in names]
    more = [f"{beyond:,} more"] if beyond else []
    return " · ".join((*texts, *more, *_last_words(step, deltas)))


def _changed(step: Step) -> list[str]:
    """Return the state's own channels whose version moved; those of the plan are shown as next."""
    before = step.parent.versions if step.parent else {}
    return [
        name
        for name, version in step.at.versions.items()
        if before.get(name) != version and not is_own(name, step)
    ]


def _change(name: str, before: Any, after: Any, deltas: Mapping[str, list[Any]]) -> str:
    if name in deltas:
        return f"{name} +{len(deltas[name])} written"
    if isinstance(after, list) and isinstance(before, list | None):
        grown = len(after) - len(before or ())
        if grown:
            return f"{name} {'+' if grown > 0 else '−'}{abs(grown)}"
    if isinstance(after, (str, int, float)) and not isinstance(after, bool):
        return f"{name} = {brief(after, 40)}"
    return name


def _last_words(step: Step, deltas: Mapping[str, list[Any]]) -> Iterable[str]:
    """Yield what the newest message says or calls."""
    for name in first(_changed(step), CHANNELS)[0]:
        newest = _newest_message(deltas.get(name) or step.at.values.get(name))
        if newest is None:
            continue
        if newest.tool_calls:
            yield f"calls {', '.join(call.name for call in newest.tool_calls)}"
        elif newest.text:
            yield f"“{' '.join(newest.text[:240].split())}”"
        return


def _newest_message(value: Any) -> Message | None:
    while isinstance(value, list) and value:
        value = value[-1]
    return message(value)
