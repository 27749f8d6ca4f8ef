"""Whether messages that are to be stored can be built of what they are given, by LangChain's own rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from checkpoints.inert import Constructed, Extension
from checkpoints.revival import MODULES

DEPTH = 100


def faults(value: Any, place: str = "", depth: int = DEPTH) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the messages in a value, and where, as in its JSON.

    Other classes are not known here, and not imported: LangGraph tells of them when it reads the value.
    """
    match value:
        case Extension() if depth:
            yield from _of_object(value.open(), place, depth - 1)
        case Mapping() if depth:
            for key, item in value.items():
                yield from faults(item, f"{place}.{key}" if place else str(key), depth - 1)
        case list() | tuple() if depth:
            for number, item in enumerate(value):
                yield from faults(item, f"{place}[{number}]", depth - 1)


def _of_object(seen: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    if not isinstance(seen, Constructed):
        return
    inner = f"{place}.value" if place else "value"
    # LangChain's message modules, which LangGraph's serializer has imported.
    if MODULES.get(seen.name) == seen.module and isinstance(seen.payload, dict):
        yield from _of_message(getattr(sys.modules[seen.module], seen.name), seen.payload, inner)
    yield from faults(seen.payload, inner, depth)


def _of_message(cls: Any, fields: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    calls = list(_of_calls(fields.get("tool_calls", []), f"{place}.tool_calls"))
    yield from calls
    if calls:
        return
    try:
        cls.__pydantic_validator__.validate_python(dict(fields), self_instance=cls.__new__(cls))
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        yield from _told(error, cls, fields, place)


def _of_calls(calls: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the calls of tools: LangChain's own complaint does not say which it is."""
    if not isinstance(calls, list):
        yield place, "Calls of tools are a list."
        return
    for number, call in enumerate(calls):
        match call:
            case {"name": str(), "args": dict(), "id": str() | None}:
                continue
        yield f"{place}[{number}]", "A call of a tool has a name, an object of args, and an id."


def _told(error: Exception, cls: Any, fields: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """Yield what pydantic tells, field by field, or any other error."""
    errors = getattr(error, "errors", None)
    if errors is None:
        yield place, f"This makes no {cls.__name__}: {error}"
        return
    for told in errors(include_url=False, include_context=False, include_input=False):
        yield _path(place, fields, told["loc"]), told["msg"]


def _path(place: str, value: Any, location: tuple[int | str, ...]) -> str:
    """Return the place as far as it is one: a choice of types is named in the middle of the way, too."""
    for part in location:
        if isinstance(value, Mapping) and part in value:
            place, value = f"{place}.{part}", value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            place, value = f"{place}[{part}]", value[part]
    return place
