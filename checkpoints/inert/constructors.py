"""One view on objects, whether a row holds them as msgpack extensions or as JSON constructors."""

from __future__ import annotations

from typing import Any

from checkpoints.inert.budget import DEFAULT, Budget
from checkpoints.inert.msgpack import Extension
from checkpoints.inert.nodes import Constructed, DeltaSnapshot, Kind, NumpyArray, Unreadable


def opened(
    value: Any, budget: Budget = DEFAULT
) -> Constructed | NumpyArray | DeltaSnapshot | Unreadable | None:
    """Open an object by one level; None for plain data.

    JSON rows of LangGraph before 2024-09, and all of LangGraph.js, hold objects as
    `{"lc": 1 | 2, "type": …}`. A call with one argument is `SINGLE` here, as msgpack rows have it.
    """
    if isinstance(value, Extension):
        return value.open(budget)
    if isinstance(value, dict) and value.get("lc") in (1, 2):
        return _from_json(value)
    return None


def _from_json(value: dict[str, Any]) -> Constructed | None:
    path = value.get("id")
    if value.get("type") == "undefined":
        return Constructed(Kind.SINGLE, "", "undefined", None)
    if not isinstance(path, list) or not path or not all(isinstance(part, str) for part in path):
        return None
    module, name = ".".join(path[:-1]), path[-1]
    match value.get("type"):
        case "constructor":
            return _call(module, name, value)
        case "not_implemented":
            return Constructed(Kind.SINGLE, module, name, value.get("repr"))
        case "secret":
            return Constructed(Kind.SINGLE, "langchain", "secret", ".".join(path))
    return None


def _call(module: str, name: str, value: dict[str, Any]) -> Constructed | None:
    arguments, keywords = value.get("args") or [], value.get("kwargs") or {}
    if not isinstance(arguments, list) or not isinstance(keywords, dict):
        return None
    method = value.get("method")
    if isinstance(method, list) and method:
        method = method[-1]  # the last of several to try
    method = method if isinstance(method, str) else None
    if keywords or not arguments:
        payload = {"args": arguments, "kwargs": keywords} if arguments else keywords
        return Constructed(Kind.KEYWORDS, module, name, payload, method)
    if len(arguments) > 1:
        return Constructed(Kind.POSITIONAL, module, name, arguments, method)
    return Constructed(Kind.METHOD if method else Kind.SINGLE, module, name, arguments[0], method)


def payload(value: Any) -> Any:
    """Return what a stored object was made of; any other value as it is."""
    seen = opened(value)
    return seen.payload if isinstance(seen, Constructed) else value
