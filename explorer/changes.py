"""What a step changed, channel by channel, as its page shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from checkpoints.channels import START, is_control
from checkpoints.difference import ChannelChange, changed_channels, channel_change
from explorer.bounds import CHANGES, first
from explorer.values import MessageCard, message_card, stored_type
from explorer.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checkpoints.difference import DiffLine
    from checkpoints.steps import Step


@dataclass(frozen=True, slots=True)
class Change:
    """How one channel changed against the parent."""

    channel: str
    kind: str
    note: str
    cards: tuple[MessageCard, ...]
    lines: tuple[tuple[str, str, str], ...]
    cut: bool


def changed(step: Step) -> list[str]:
    """Name the channels that differ from the parent's, LangGraph's own among them."""
    return changed_channels(step.parent.values if step.parent else {}, step.at.values)


def changes(step: Step, moved: Iterable[str]) -> list[Change]:
    """Describe what changed in the state against the parent, `CHANGES` at most; for an input, the input."""
    before = step.parent.values if step.parent else {}
    names = [name for name in moved if not is_own(name, step)]
    if step.at.source == "input" and START in step.at.values:
        names.insert(0, START)
    stored = [_change(channel_change(name, before, step.at.values)) for name in first(names, CHANGES)[0]]
    return stored + [_delta_change(name, writes) for name, writes in step.deltas.items() if writes]


def between(before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]) -> list[Change]:
    """Describe how some channels differ between two states."""
    return [_change(channel_change(name, before, after)) for name in names]


def _delta_change(name: str, writes: list[Any]) -> Change:
    """Show what was written to a DeltaChannel, whose value is not in the checkpoint."""
    items = [item for write in writes for item in (write if isinstance(write, list) else [write])]
    found = channel_change(name, {}, {name: items})
    return replace(_change(found), kind="written", note=f"DeltaChannel, {count(len(items), 'item')}")


def unchanged(step: Step, moved: Iterable[str]) -> list[str]:
    """Name the channels of the state that are as they were."""
    left = set(moved)
    return [name for name in step.at.values if name not in left and not is_own(name, step)]


def is_own(name: str, step: Step) -> bool:
    """Tell whether a channel is LangGraph's own, not the application's state."""
    value = step.at.values.get(name, step.parent.values.get(name) if step.parent else None)
    return is_control(name, value, step.at.seen)


def _change(found: ChannelChange) -> Change:
    added = sum(change.sign == "+" for change in found.messages)
    return Change(
        channel=found.channel,
        kind=found.kind,
        note=f"+{added} of {found.total}" if added and found.total else stored_type(_shown(found)),
        cards=tuple(
            replace(message_card(change.message, sign=change.sign), differs=signed(change.lines))
            for change in found.messages
        ),
        lines=signed(found.lines),
        cut=found.cut,
    )


def _shown(found: ChannelChange) -> Any:
    return found.before if found.kind == "removed" else found.after


def signed(lines: Iterable[DiffLine]) -> tuple[tuple[str, str, str], ...]:
    """Return lines of a difference with a real minus."""
    return tuple((line.sign.replace("-", "−"), line.path, line.text) for line in lines)
