"""Whether messages that are to be stored can be built of what they are given, by LangChain's own rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from checkpoints.inert import Constructed, DeltaSnapshot, Extension
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


def classes(value: Any, depth: int = DEPTH) -> Iterator[str]:
    """Yield the classes of the objects in a value that are not known here, each with its module."""
    for seen in _objects(value, depth):
        if MODULES.get(seen.name) != seen.module and seen.module != "builtins":
            yield f"{seen.module}.{seen.name}"


def strange_fields(before: Any, after: Any) -> Iterator[str]:
    """Yield a sentence for each object with other fields than those of its class that were there before."""
    known: dict[tuple[str, str], set[frozenset[str]]] = {}
    for seen in _objects(before, DEPTH):
        if isinstance(seen.payload, dict):
            known.setdefault((seen.module, seen.name), set()).add(frozenset(seen.payload))
    for seen in _objects(after, DEPTH):
        forms = known.get((seen.module, seen.name), set())
        if isinstance(seen.payload, dict) and forms and frozenset(seen.payload) not in forms:
            yield _strange(seen.name, set(seen.payload), set(next(iter(forms))))


def _strange(name: str, now: set[str], then: set[str]) -> str:
    more, less = sorted(map(str, now - then)), sorted(map(str, then - now))
    told = [f"no {', '.join(map(repr, less))}"] if less else []
    told += [f"{', '.join(map(repr, more))} in addition"] if more else []
    return f"A {name} that you typed has {' and '.join(told)}, unlike those that are stored."


def _objects(value: Any, depth: int) -> Iterator[Constructed]:
    match value:
        case Extension() if depth:
            seen = value.open()
            if isinstance(seen, Constructed):
                yield seen
                yield from _objects(seen.payload, depth - 1)
            elif isinstance(seen, DeltaSnapshot):
                yield from _objects(seen.value, depth - 1)
        case Mapping() if depth:
            for item in value.values():
                yield from _objects(item, depth - 1)
        case list() | tuple() if depth:
            for item in value:
                yield from _objects(item, depth - 1)


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
