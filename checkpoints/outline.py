"""A value as typed lines: what a person reads of a state, bounded, with an address for the rest.

The address of a part is the ordinals of the children on the way to it, so every part has one, whatever
its keys are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, Literal

from checkpoints.inert import (
    Constructed,
    Deferred,
    DeltaSnapshot,
    Encrypted,
    Extension,
    Kind,
    NumpyArray,
    Pickled,
    Rotten,
    Unreadable,
    opened,
)
from checkpoints.inert.budget import DEFAULT
from checkpoints.inert.msgpack import decode
from checkpoints.inert.packing import encode

Tone = Literal["text", "number", "word", "null", "bytes", "typed", "bad", "group"]
Path = tuple[int, ...]

TEXT_SHOWN = 2_000
CHILDREN_SHOWN = 100
LINES_SHOWN = 400
OPEN_DEPTH = 3
BRIEF_DEPTH = 40
OPEN_CHILDREN = 24
SHOWN_IN_A_LINE = {"datetime", "pathlib", "re", "zoneinfo", "uuid", "decimal", "ipaddress"}
SECRETS = {"SecretStr", "SecretBytes"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an outline.

    `mark` tells how it nests: `open` starts a group that a later `close` ends, `leaf` stands alone, `more`
    says that something was left out, and `path` and `start` where it goes on.
    """

    mark: Literal["open", "close", "leaf", "more"]
    label: str = ""
    type: str = ""
    text: str = ""
    tone: Tone = "group"
    path: Path = ()
    start: int = 0
    unfolded: bool = False


def outline(
    value: Any, *, label: str = "", path: Path = (), start: int = 0, shown: int = LINES_SHOWN
) -> Iterator[Line]:
    """Yield the lines of a value, at most `shown` of them, from its child `start` on."""
    budget = _Budget(shown)
    yield from _lines(value, label, path, start, 0, budget)


def parts(value: Any, *, path: Path = (), start: int = 0, shown: int = LINES_SHOWN) -> list[Line]:
    """Return the lines of a value without the group around them, for where its type is said already."""
    lines = list(outline(value, path=path, start=start, shown=shown))
    return lines[1:-1] if lines[0].mark == "open" else lines


def at_path(value: Any, path: Sequence[int]) -> Any:
    """Return the part at an address. Raises LookupError when there is none."""
    for ordinal in path:
        members = _members(_seen(value))
        if members is None:
            raise LookupError("this value has no parts")
        value = next(islice(_pairs(members), ordinal, None), (None, _MISSING))[1]
        if value is _MISSING:
            raise LookupError("there is no part at this address")
    return value


def with_part(value: Any, path: Sequence[int], part: Any) -> Any:
    """Return a value with another part at an address; objects on the way stay what they are.

    Raises LookupError when there is none at this address, or none that can be replaced.
    """
    if not path:
        return part
    if isinstance(value, Deferred):
        return with_part(value.open(), path, part)
    members = _members(_seen(value))
    if members is None or (members is not value and not isinstance(value, Extension)):
        raise LookupError("this value has no parts that can be replaced")
    keys: list[Any] = list(members if isinstance(members, Mapping) else range(len(members)))
    if not 0 <= path[0] < len(keys):
        raise LookupError("there is no part at this address")
    key: Any = keys[path[0]]
    changed: Any = dict(members) if isinstance(members, Mapping) else list(members)
    changed[key] = with_part(members[key], path[1:], part)
    return _closed(value, changed) if isinstance(value, Extension) else changed


def _closed(value: Extension, members: Any) -> Extension:
    """Return an object with other members. What else was stored of it stays as it was."""
    if value.code == Kind.DELTA:
        return Extension(value.code, encode(members[0]))
    fields = decode(value.raw, DEFAULT)
    return Extension(value.code, encode([*fields[:2], members, *fields[3:]]))


def brief(value: Any, limit: int = 120, depth: int = BRIEF_DEPTH) -> str:
    """Return a value in one short line; what lies deeper than `depth` is an ellipsis."""
    if not depth:
        return "…"
    seen = _seen(value)
    members = _members(seen)
    if members is None:
        return _clipped(_leaf(seen, depth - 1)[0].replace("\n", " "), limit)
    name = type_name(seen)
    if not members:
        return {"list": "[]", "dict": "{}"}.get(name, f"{name}()")
    inner = _brief_members(members, limit - len(name) - 2, depth - 1)
    match name:
        case "list":
            return f"[{inner}]"
        case "dict":
            return f"{{{inner}}}"
    return f"{name.rpartition('.')[2]}({inner})"


def type_name(seen: Any) -> str:
    """Return the type of a value in the words of the program that stored it."""
    match seen:
        case Constructed():
            return seen.name if seen.module in {"builtins", ""} else f"{seen.module}.{seen.name}"
        case NumpyArray():
            return "numpy.ndarray"
        case DeltaSnapshot():
            return "DeltaSnapshot"
        case Mapping():
            return "dict"
        case list() | tuple():
            return "list"
        case bool() | int() | float() | str() | bytes() | bytearray():
            return type(seen).__name__
        case None:
            return "null"
    return type(seen).__name__.lower()


class _Budget:
    """How many lines may still be shown."""

    def __init__(self, lines: int) -> None:
        self.left = lines

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


_MISSING = object()


def _lines(value: Any, label: str, path: Path, start: int, depth: int, budget: _Budget) -> Iterator[Line]:
    seen = _seen(value)
    members = _members(seen)
    if not members:
        yield _leaf_line(seen, label, path)
        return
    unfolded = (depth < OPEN_DEPTH and len(members) <= OPEN_CHILDREN) or depth == 0
    yield Line("open", label, type_name(seen), _extent(members), "group", path, unfolded=unfolded)
    pairs = islice(_pairs(members), start, None)
    for ordinal, (key, child) in enumerate(pairs, start):
        if ordinal - start >= CHILDREN_SHOWN or not budget.take():
            yield Line("more", text=f"{len(members) - ordinal:,} more", path=path, start=ordinal)
            break
        yield from _lines(child, key, (*path, ordinal), 0, depth + 1, budget)
    yield Line("close")


def _leaf_line(seen: Any, label: str, path: Path) -> Line:
    if _members(seen) is not None:
        return Line("leaf", label, "", brief(seen), "typed", path)
    text, tone = _leaf(seen)
    kind = type_name(seen) if tone in {"typed", "bytes", "bad"} else ""
    cut = (isinstance(seen, str) and len(seen) > TEXT_SHOWN) or isinstance(seen, Deferred)
    return Line("more" if cut else "leaf", label, kind, text, tone, path)


def _seen(value: Any) -> Any:
    """Return what is inside an extension or a stored constructor, else the value itself."""
    if isinstance(value, (str, int, float, list)):
        return value
    found = opened(value)
    return value if found is None else found


def _members(seen: Any) -> Mapping[Any, Any] | Sequence[Any] | None:
    """Return the parts of a value that has parts, None for one that is shown in a line."""
    match seen:
        case Constructed():
            return _constructed_members(seen)
        case DeltaSnapshot():
            return [seen.value]
        case Mapping() | list() | tuple():
            return seen
    return None


def _constructed_members(seen: Constructed) -> Mapping[Any, Any] | Sequence[Any] | None:
    if _package(seen) in SHOWN_IN_A_LINE:
        return None
    if isinstance(seen.payload, Mapping):
        return seen.payload
    if isinstance(seen.payload, (list, tuple)):
        return seen.payload
    return None


def _pairs(members: Mapping[Any, Any] | Sequence[Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(members, Mapping):
        return ((key if isinstance(key, str) else brief(key, 60), value) for key, value in members.items())
    return ((str(index), value) for index, value in enumerate(members))


def _extent(members: Mapping[Any, Any] | Sequence[Any]) -> str:
    return f"{len(members):,}"


def _leaf(seen: Any, depth: int = BRIEF_DEPTH) -> tuple[str, Tone]:
    match seen:
        case None:
            return "null", "null"
        case bool():
            return str(seen).lower(), "word"
        case int():
            return _integer(seen), "number"
        case float():
            return repr(seen) if math.isfinite(seen) else str(seen), "number"
        case str():
            return f'"{seen[:TEXT_SHOWN]}{"…" if len(seen) > TEXT_SHOWN else ""}"', "text"
        case bytes() | bytearray():
            return (
                f"{len(seen):,} bytes  {bytes(seen[:24]).hex(' ')}{' …' if len(seen) > 24 else ''}",
                "bytes",
            )
        case Constructed():
            return _constructed_text(seen, depth), "typed"
        case NumpyArray():
            return f"{seen.dtype} {'×'.join(map(str, seen.shape))}  {len(seen.raw):,} bytes", "typed"
    return _mark(seen)


def _mark(seen: Any) -> tuple[str, Tone]:
    match seen:
        case Deferred():
            return f"{seen.size:,} bytes, not loaded", "bytes"
        case Encrypted():
            return f"encrypted ({seen.cipher}), {len(seen.raw):,} bytes", "bad"
        case Pickled():
            return f"pickled, {len(seen.raw):,} bytes, never unpickled", "bad"
        case Rotten() | Unreadable():
            return f"cannot be decoded: {seen.reason}", "bad"
        case Extension():
            return f"extension {seen.code}, {len(seen.raw):,} bytes", "bad"
    return type(seen).__name__, "bad"


def _integer(number: int) -> str:
    # Python refuses to print integers of more than 4,300 digits.
    return str(number) if number.bit_length() < 4_000 else f"an integer of {number.bit_length():,} bits"


def _constructed_text(seen: Constructed, depth: int) -> str:
    payload = seen.payload
    if seen.name in SECRETS:
        return "••••••••"
    match _package(seen), payload:
        case "uuid", str() if len(payload) == 32:
            return "-".join((payload[:8], payload[8:12], payload[12:16], payload[16:20], payload[20:]))
        case "pathlib", list() | tuple():
            return "/".join(str(part) for part in payload).replace("//", "/", 1)
        case "re", list() | tuple() if payload:
            return f"/{payload[0]}/"
        case "datetime", _:
            return _time_text(seen, depth)
    return payload if isinstance(payload, str) else brief(payload, depth=depth)


def _package(seen: Constructed) -> str:
    # Python 3.13 has pathlib.Path in `pathlib._local`, 3.14 in `pathlib` again.
    return seen.module.partition(".")[0]


def _time_text(seen: Constructed, depth: int) -> str:
    match seen.name, seen.payload:
        case "date", [int() as year, int() as month, int() as day]:
            return f"{year:04}-{month:02}-{day:02}"
        case "timedelta", [int() as days, int() as seconds, int() as microseconds] if (
            max(abs(days), abs(seconds), abs(microseconds)) < 10**8
        ):
            return str(timedelta(days, seconds, microseconds))
        case "time", {
            "hour": int() as hour,
            "minute": int() as minute,
            "second": int() as second,
            "microsecond": int() as microsecond,
        }:
            return f"{hour:02}:{minute:02}:{second:02}.{microsecond:06}"
        case "timezone", [offset, *_]:
            return f"UTC {brief(offset, depth=depth)}"
    return seen.payload if isinstance(seen.payload, str) else brief(seen.payload, depth=depth)


def _brief_members(members: Mapping[Any, Any] | Sequence[Any], limit: int, depth: int) -> str:
    parts: list[str] = []
    room = limit
    for key, child in _pairs(members):
        text = brief(child, min(room, 60), depth) if room > 8 else "…"
        parts.append(f"{key}: {text}" if isinstance(members, Mapping) else text)
        room -= len(parts[-1]) + 2
        if text == "…":
            break
    return ", ".join(parts)


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: max(limit - 1, 0)]}…"
