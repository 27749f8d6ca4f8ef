"""Whether two stored values are the same one, written at different times.

A SQLite file holds a channel's value anew in each checkpoint, written by whatever release ran then; and a
set comes in any order. PostgreSQL has it once for each version.
"""

from __future__ import annotations

import json
from typing import Any

from checkpoints.inert import Budget, Constructed, DeltaSnapshot, Extension, opened
from checkpoints.inert.msgpack import decode
from checkpoints.inert.packing import fingerprint

_BUDGET = Budget(bytes=1 << 30, inline=1 << 30, nodes=1 << 30, depth=250, seconds=60.0)
_SETS = {"set", "frozenset"}


def alike(one: tuple[str, bytes], other: tuple[str, bytes]) -> bool:
    """Tell whether two values (type, bytes) are equal."""
    if one == other:
        return True
    try:
        return _alike(_decoded(*one), _decoded(*other))
    except (ValueError, RecursionError):
        return False


def _decoded(kind: str, raw: bytes) -> Any:
    if kind == "msgpack":
        return decode(raw, _BUDGET)
    return json.loads(raw.decode()) if kind == "json" else raw


def _alike(one: Any, other: Any) -> bool:
    first, second = opened(one, _BUDGET), opened(other, _BUDGET)
    match first, second:
        case Constructed(), Constructed():
            return first.name == second.name and _same_content(first, second)
        case DeltaSnapshot(), DeltaSnapshot():
            return _alike(first.value, second.value)
    if type(one) is not type(other):
        return False
    match one:
        case dict():
            return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
        case list():
            return len(one) == len(other) and all(map(_alike, one, other))
        case Extension():
            return bool(one == other)
    return fingerprint(one) == fingerprint(other)


def _same_content(one: Constructed, other: Constructed) -> bool:
    mine, theirs = one.payload, other.payload
    if one.name in _SETS and isinstance(mine, list) and isinstance(theirs, list):
        return sorted(map(fingerprint, mine)) == sorted(map(fingerprint, theirs))
    if isinstance(mine, dict) and isinstance(theirs, dict):
        # A newer release of a class has more fields, which are empty at first.
        return all(
            _alike(mine[key], theirs[key]) if key in mine and key in theirs else _is_empty(mine, theirs, key)
            for key in mine.keys() | theirs.keys()
        )
    return _alike(mine, theirs)


def _is_empty(mine: dict[Any, Any], theirs: dict[Any, Any], key: Any) -> bool:
    value = mine.get(key, theirs.get(key))
    return value is None or value is False or value in ("", [], {})
