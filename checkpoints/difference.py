"""What changed between two states: by channel, then by part."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias

from checkpoints.inert import Constructed, opened, payload
from checkpoints.inert.packing import fingerprint
from checkpoints.messages import Message, message
from checkpoints.outline import brief

LINES_SHOWN = 200
PARTS_SHOWN = 40
DEPTH = 32


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a difference: `sign` is `+` or `-`, `path` where, `text` the part in one line."""

    sign: Literal["+", "-"]
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class MessageChange:
    """A message that was added, removed or changed, with the `lines` by which it changed."""

    sign: Literal["+", "-", "~"]
    message: Message
    lines: tuple[DiffLine, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelChange:
    """How one channel changed. Lists of messages give `messages`, everything else `lines`."""

    channel: str
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any
    lines: tuple[DiffLine, ...] = ()
    messages: tuple[MessageChange, ...] = ()
    total: int = 0
    cut: bool = False


_ABSENT = object()
_Read: TypeAlias = tuple[Message, Any]
"""A message, and the value that it was read from."""


def changed_channels(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the channels whose stored value differs, in the order of the newer state."""
    names = [name for name, value in after.items() if name not in before or differ(before[name], value)]
    return names + [name for name in before if name not in after]


def differ(before: Any, after: Any) -> bool:
    """Tell whether two values differ as they are stored: 1, 1.0 and True do, NaN does not from itself."""
    return before is not after and fingerprint(before) != fingerprint(after)


def channel_change(channel: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> ChannelChange:
    """Describe how one changed channel differs."""
    old, new = before.get(channel, _ABSENT), after.get(channel, _ABSENT)
    kind: Literal["added", "removed", "changed"] = (
        "added" if old is _ABSENT else "removed" if new is _ABSENT else "changed"
    )
    old, new = (None if value is _ABSENT else value for value in (old, new))
    found = message_changes(old, new)
    if found is not None:
        total = len(new) if isinstance(new, (list, tuple)) else 0
        return ChannelChange(
            channel, kind, old, new, messages=found[:PARTS_SHOWN], total=total, cut=len(found) > PARTS_SHOWN
        )
    lines = tuple(islice(_lines_of(kind, old, new), LINES_SHOWN + 1))
    return ChannelChange(channel, kind, old, new, lines=lines[:LINES_SHOWN], cut=len(lines) > LINES_SHOWN)


def _lines_of(kind: str, old: Any, new: Any) -> Iterator[DiffLine]:
    if kind == "added":
        return whole("+", "", new)
    return whole("-", "", old) if kind == "removed" else difference(old, new)


def difference(before: Any, after: Any, path: str = "", depth: int = DEPTH) -> Iterator[DiffLine]:
    """Yield the lines that lead from one value to another; nothing where they are equal."""
    if not differ(before, after):
        return
    old, new = _parts(before, after)
    if depth and isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _mapping_difference(old, new, path, depth)
    elif depth and _is_sequence(old) and _is_sequence(new):
        yield from _sequence_difference(old, new, path, depth)
    else:
        yield from whole("-", path, before)
        yield from whole("+", path, after)


def whole(sign: Literal["+", "-"], path: str, value: Any) -> Iterator[DiffLine]:
    """Yield a value as lines of one sign: a line a field where it has fields, else one."""
    fields = payload(value)
    if isinstance(fields, Mapping) and 0 < len(fields) <= PARTS_SHOWN:
        for key, part in fields.items():
            yield DiffLine(sign, _joined(path, key), brief(part, 400))
    else:
        yield DiffLine(sign, path, brief(value, 400))


def message_changes(before: Any, after: Any) -> tuple[MessageChange, ...] | None:
    """Return how a conversation changed, None when the values are no lists of messages."""
    old, new = (value if _is_sequence(value) else [] for value in (before, after))
    kept = _common_prefix(old, new)
    old, new = old[kept:], new[kept:]
    if not (old or new):
        return None
    parsed_old, parsed_new = [message(item) for item in old], [message(item) for item in new]
    if None in parsed_old or None in parsed_new:
        return None
    return tuple(
        _matched(
            [(m, raw) for m, raw in zip(parsed_old, old, strict=True) if m],
            [(m, raw) for m, raw in zip(parsed_new, new, strict=True) if m],
        )
    )


def _matched(old: Sequence[_Read], new: Sequence[_Read]) -> Iterator[MessageChange]:
    former = {_identity(item): raw for item, raw in old}
    kept = {_identity(item) for item, _ in new}
    for item, _ in old:
        if _identity(item) not in kept:
            yield MessageChange("-", item)
    for item, raw in new:
        if _identity(item) not in former:
            yield MessageChange("+", item)
        elif differ(known := former[_identity(item)], raw):
            yield MessageChange("~", item, tuple(islice(difference(known, raw), PARTS_SHOWN)))


def _identity(item: Message) -> Hashable:
    return item.id or (item.role, item.text, item.tool_call_id)


def _mapping_difference(
    old: Mapping[Any, Any], new: Mapping[Any, Any], path: str, depth: int
) -> Iterator[DiffLine]:
    for key, value in new.items():
        if key not in old:
            yield from whole("+", _joined(path, key), value)
        else:
            yield from difference(old[key], value, _joined(path, key), depth - 1)
    for key, value in old.items():
        if key not in new:
            yield from whole("-", _joined(path, key), value)


def _sequence_difference(old: Sequence[Any], new: Sequence[Any], path: str, depth: int) -> Iterator[DiffLine]:
    head = _common_prefix(old, new)
    tail = _common_prefix(old[head:][::-1], new[head:][::-1])
    gone, come = old[head : len(old) - tail], new[head : len(new) - tail]
    if len(gone) == len(come):
        for offset, (before, after) in enumerate(zip(gone, come, strict=True), head):
            yield from difference(before, after, f"{path}[{offset}]", depth - 1)
        return
    for offset, value in enumerate(gone, head):
        yield from whole("-", f"{path}[{offset}]", value)
    for offset, value in enumerate(come, head):
        yield from whole("+", f"{path}[{offset}]", value)


def _parts(before: Any, after: Any) -> tuple[Any, Any]:
    """Return the insides of two objects of one class; objects of two classes are compared whole."""
    old, new = opened(before), opened(after)
    if isinstance(old, Constructed) and isinstance(new, Constructed):
        if (old.module, old.name) == (new.module, new.name):
            return old.payload, new.payload
        return None, None
    return (None, None) if old is not None or new is not None else (before, after)


def _common_prefix(old: Sequence[Any], new: Sequence[Any]) -> int:
    count = 0
    for one, other in zip(old, new, strict=False):
        if differ(one, other):
            break
        count += 1
    return count


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _joined(path: str, key: Any) -> str:
    name = key if isinstance(key, str) else brief(key, 60)
    return f"{path}.{name}" if path else name
