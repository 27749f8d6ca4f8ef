"""Values as the pages show them: a conversation, a text, or typed lines, each part with its address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from checkpoints.inert import Deferred, DeltaSnapshot, Extension, opened, payload
from checkpoints.messages import Message, ToolCall, message, messages
from checkpoints.outline import Line, Path, brief, outline, parts, type_name
from explorer import addresses
from explorer.bounds import CALLS, first
from explorer.wording import count, size

MESSAGES_SHOWN = 20
MESSAGE_TEXT_SHOWN = 4_000
CALL_LINES_SHOWN = 40
TEXT_SHOWN = 100_000

Address = Callable[..., str]


@dataclass(frozen=True, slots=True)
class CallCard:
    """A tool call inside a message."""

    name: str
    id: str
    error: str
    lines: tuple[LineView, ...]


@dataclass(frozen=True, slots=True)
class MessageCard:
    """One message of a conversation; `sign` tells how it changed where a change is shown."""

    role: str
    class_name: str
    name: str
    id: str
    text: str
    calls: tuple[CallCard, ...]
    parts: tuple[str, ...]
    answers: str
    status: str
    usage: str
    sign: str = ""
    rest: str = ""
    rest_href: str = ""
    others: tuple[LineView, ...] = ()
    edit_href: str = ""
    differs: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LineView:
    """A line of an outline with the address of what it leaves out."""

    line: Line
    href: str = ""


@dataclass(frozen=True, slots=True)
class ValueView:
    """A value. One of `cards`, `lines` and `text` is filled; `more` leads on."""

    type: str = ""
    extent: str = ""
    cards: tuple[MessageCard, ...] = ()
    lines: tuple[LineView, ...] = ()
    text: str | None = None
    more: str = ""
    more_href: str = ""
    more_first: bool = False


def value_view(
    value: Any,
    address: Address,
    *,
    path: Path = (),
    start: int | None = None,
    edit: Address | None = None,
) -> ValueView:
    """Show a value from its part `start` on; without `start` a conversation shows its end.

    `edit` addresses the editor of a part, where there is one.
    """
    if isinstance(value, Deferred) and start is not None:
        value = value.open()
    if isinstance(value, Extension) and isinstance(seen := opened(value), DeltaSnapshot):
        return value_view(seen.value, address, path=(*path, 0), start=start, edit=edit)
    if isinstance(value, str) and start is not None:
        return _text_view(value, address, path, start)
    if isinstance(value, (list, tuple)) and messages(value[:1]):
        return _conversation(value, address, path, start, edit)
    return ValueView(
        type=stored_type(value),
        extent=_extent(value),
        lines=line_views(parts(value, path=path, start=start or 0), address),
    )


def line_views(lines: Iterable[Line], address: Address | None) -> tuple[LineView, ...]:
    """Give every line that leaves something out the address of the rest, where there is one."""
    return tuple(
        LineView(line, address(path=line.path, start=line.start))
        if address and line.mark == "more"
        else LineView(line)
        for line in lines
    )


def _text_view(text: str, address: Address, path: Path, start: int) -> ValueView:
    end = start + TEXT_SHOWN
    left = len(text) - end
    return ValueView(
        type="str",
        extent=count(len(text), "character"),
        text=text[start:end],
        more=f"{left:,} more characters" if left > 0 else "",
        more_href=address(path=path, start=end) if left > 0 else "",
    )


def _conversation(
    value: Any, address: Address, path: Path, start: int | None, edit: Address | None
) -> ValueView:
    begin = max(len(value) - MESSAGES_SHOWN, 0) if start is None else start
    end = len(value) if start is None else min(start + MESSAGES_SHOWN * 5, len(value))
    earlier, later = start is None and begin > 0, end < len(value)
    return ValueView(
        type="messages",
        extent=f"{len(value):,}",
        cards=tuple(_item_card(value[place], address, (*path, place), edit) for place in range(begin, end)),
        more=f"{begin:,} earlier" if earlier else f"{len(value) - end:,} more" if later else "",
        more_href=address(path=path, start=0) if earlier else address(path=path, start=end) if later else "",
        more_first=earlier,
    )


def _item_card(value: Any, address: Address, path: Path, edit: Address | None) -> MessageCard:
    found = message(value)
    if found is None:
        card = message_card(Message("chat", stored_type(value), brief(value, 2_000)))
    else:
        card = message_card(found, fields=partial(_field_address, address, path, value))
    return replace(card, edit_href=edit(path=path)) if edit else card


def _field_address(address: Address, base: Path, value: Any, *names: str | int, **rest: Any) -> str:
    """Return the address of a field of a message, and of a field of that; of what there is of them."""
    place = base
    for name in names:
        fields = payload(value)
        keys: list[Any] = list(range(len(fields))) if isinstance(fields, list) else list(fields)
        if name not in keys:
            return address(path=place)
        place, value = (*place, keys.index(name)), fields[name]
    return address(path=(*place, *rest.pop("path", ())), **rest)


def message_card(found: Message, *, sign: str = "", fields: Address | None = None) -> MessageCard:
    """Show one message. What is too long is cut; `fields` addresses what was cut, where that is known."""
    cut = len(found.text) > MESSAGE_TEXT_SHOWN
    return MessageCard(
        role=found.role,
        class_name=found.class_name,
        name=found.name or "",
        id=found.id or "",
        text=found.text[:MESSAGE_TEXT_SHOWN],
        calls=tuple(
            _call_card(call, fields, place) for place, call in enumerate(first(found.tool_calls, CALLS)[0])
        ),
        parts=tuple(brief(part, 400) for part in first(found.parts, CALLS)[0]),
        answers=found.tool_call_id or "",
        status=found.status or "",
        usage=_usage(found.usage),
        sign=sign,
        rest=f"{size(len(found.text))} in all" if cut else "",
        rest_href=fields("content") if cut and fields else "",
        others=_others(found, fields),
    )


def _others(found: Message, fields: Address | None) -> tuple[LineView, ...]:
    return tuple(
        view
        for name, value in found.others.items()
        for view in line_views(
            outline(value, label=name, shown=CALL_LINES_SHOWN), partial(fields, name) if fields else None
        )
    )


def _call_card(call: ToolCall, fields: Address | None, place: int) -> CallCard:
    """Show a tool call. Arguments that could not be parsed stand in another field of the message."""
    address = partial(fields, "tool_calls", place, "args") if fields and not call.error else None
    lines = line_views(parts(call.args, shown=CALL_LINES_SHOWN), address)
    return CallCard(name=call.name, id=call.id or "", error=call.error or "", lines=lines)


def _usage(usage: Mapping[str, Any] | None) -> str:
    if not usage:
        return ""
    tokens = usage.get("input_tokens"), usage.get("output_tokens")
    return f"{tokens[0]} → {tokens[1]} tokens" if all(isinstance(t, int) for t in tokens) else ""


def stored_type(value: Any) -> str:
    """Return the type of a value in the words of the program that stored it."""
    found = opened(value)
    return type_name(value if found is None else found)


def _extent(value: Any) -> str:
    inside = payload(value)
    return f"{len(inside):,}" if isinstance(inside, (Mapping, list, tuple)) else ""


def value_address(store: str, thread: str, id: str, ns: str, **fixed: Any) -> Address:
    """Return a function that addresses the parts of one stored value."""
    return partial(addresses.value, store, thread, id, ns=ns, **fixed)
