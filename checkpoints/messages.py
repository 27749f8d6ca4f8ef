"""Chat messages as any era stored them: pydantic extensions, JSON constructors, role dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checkpoints.inert import Constructed, opened

ROLES = {
    "human": "human",
    "user": "human",
    "ai": "ai",
    "assistant": "ai",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "remove": "remove",
    "chat": "chat",
}


# What the other fields of `Message` hold.
SHOWN = frozenset(
    {"content", "type", "role", "id", "name", "tool_calls", "invalid_tool_calls", "tool_call_id", "status"}
)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that a model asked for; `error` is set when its arguments could not be parsed."""

    name: str
    args: Any
    id: str | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message. `parts` are the content blocks that are no text; `class_name` as it was stored.

    `others` are its further fields that hold something: usage, artifacts, what the model's provider added.
    """

    role: str
    class_name: str
    text: str
    id: str | None = None
    name: str | None = None
    parts: tuple[Any, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    status: str | None = None
    usage: Mapping[str, Any] | None = None
    others: Mapping[str, Any] = field(default_factory=dict)


def message(value: Any) -> Message | None:
    """Return the message this value is, or None."""
    found = _fields(value)
    return None if found is None else _message(*found)


def spoken(value: Any) -> tuple[str, str] | None:
    """Return only the role and the text of a message, which is cheaper; None for what is none."""
    found = _fields(value)
    return None if found is None else (_role(*found), _content(found[0].get("content"))[0])


def _fields(value: Any) -> tuple[Mapping[str, Any], str] | None:
    """Return the fields and the class name of a message."""
    match value:
        case {"role": str() as role, "content": _} if role in ROLES:
            return value, "dict"
        case [str() as role, str() as content] if role in ROLES:
            return {"role": role, "content": content}, "pair"
    seen = opened(value)
    if not isinstance(seen, Constructed) or not seen.name.endswith(("Message", "MessageChunk")):
        return None
    if not isinstance(seen.payload, dict) or "content" not in seen.payload:
        return None
    return seen.payload, seen.name


def messages(value: Any) -> tuple[Message, ...] | None:
    """Return the conversation this value is: a list of nothing but messages, at least one; else None."""
    if not isinstance(value, (list, tuple)) or not value:
        return None
    found: list[Message] = []
    for item in value:
        one = message(item)
        if one is None:
            return None
        found.append(one)
    return tuple(found)


def _message(fields: Mapping[str, Any], class_name: str) -> Message:
    text, parts = _content(fields.get("content"))
    return Message(
        role=_role(fields, class_name),
        class_name=class_name,
        text=text,
        id=_text(fields.get("id")),
        name=_text(fields.get("name")),
        parts=parts,
        tool_calls=_calls(fields),
        tool_call_id=_text(fields.get("tool_call_id")),
        status=_text(fields.get("status")),
        usage=usage if isinstance(usage := fields.get("usage_metadata"), Mapping) else None,
        others={
            name: value for name, value in fields.items() if name not in SHOWN and _says_something(value)
        },
    )


def _says_something(value: Any) -> bool:
    return value is not None and value is not False and value not in ({}, [], "")


def _role(fields: Mapping[str, Any], class_name: str) -> str:
    named = fields.get("type") or fields.get("role") or ""
    stem = class_name.removesuffix("Chunk").removesuffix("Message").lower()
    return ROLES.get(str(named), ROLES.get(stem, "chat"))


def _content(content: Any) -> tuple[str, tuple[Any, ...]]:
    if isinstance(content, str):
        return content, ()
    if not isinstance(content, (list, tuple)):
        return "", () if content is None else (content,)
    texts: list[str] = []
    parts: list[Any] = []
    for block in content:
        text = _block_text(block)
        if text is None:
            parts.append(block)
        else:
            texts.append(text)
    return "\n".join(texts), tuple(parts)


def _block_text(block: Any) -> str | None:
    if isinstance(block, str):
        return block
    if isinstance(block, Mapping) and block.get("type") == "text":
        return _text(block.get("text"))
    return None


def _calls(fields: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    calls = fields.get("tool_calls")
    broken = fields.get("invalid_tool_calls")
    return (
        *(_call(call) for call in (calls if isinstance(calls, (list, tuple)) else ())),
        *(_call(call, broken=True) for call in (broken if isinstance(broken, (list, tuple)) else ())),
    )


def _call(call: Any, *, broken: bool = False) -> ToolCall:
    if not isinstance(call, Mapping):
        return ToolCall(name="?", args=call, id=None, error="This is no tool call.")
    function = call.get("function")
    fields = function if isinstance(function, Mapping) else call
    return ToolCall(
        name=_text(fields.get("name")) or "?",
        args=fields.get("args", fields.get("arguments")),
        id=_text(call.get("id")),
        error=(_text(call.get("error")) or "Its arguments could not be parsed.") if broken else None,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
