"""JSON taken apart by its text, and what JSONB gives back exactly as it was."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

LARGEST_EXACT = 1e16  # JSONB writes greater floats as whole numbers
_SPACE = re.compile(r"[ \t\n\r]*")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_DECODER = json.JSONDecoder()


def members(text: str) -> dict[str, str]:
    """Return the text of each value of an object. Raises ValueError for what is no object."""
    found: dict[str, str] = {}
    at = _past(text, 0, "{")
    more = text[at : at + 1] != "}"
    while more:
        name, at = _DECODER.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError("it has a key that is no text")
        start = _past(text, at, ":")
        _, end = _DECODER.raw_decode(text, start)
        found[name] = text[start:end]
        at = _skip(text, end)
        if more := text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    if _past(text, at, "}") != len(text):
        raise ValueError("text follows its end")
    return found


def strict(text: str) -> Any:
    """Decode JSON as its standard says, without NaN and infinities. Raises ValueError."""
    return json.loads(text, parse_constant=_refuse)


def require_jsonb(text: str) -> Any:
    """Decode JSON that JSONB can hold. Raises ValueError for what it has no way to write."""
    value = strict(text)
    if _NUL.search(text):
        raise ValueError("it holds a NUL character")
    json.dumps(value, ensure_ascii=False).encode()  # not halves of surrogate pairs
    return value


def is_plain(value: Any) -> bool:
    """Tell whether a value stands in the JSON: one of JSON's own, and exactly as it is.

    JSONB has no NaN and no infinity, no negative zero and no NUL; the official saver fails there or stores
    something else. Nor has it half of a surrogate pair, which LangGraph's serializer makes a question mark.
    """
    if isinstance(value, float):
        return abs(value) < LARGEST_EXACT and not (value == 0 and math.copysign(1, value) < 0)
    if isinstance(value, str):
        return "\0" not in value and (value.isascii() or _is_unicode(value))
    return value is None or isinstance(value, int)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def is_exact(value: Any) -> bool:
    """Tell whether JSONB gives a decoded value back as it is."""
    match value:
        case dict():
            return all(
                isinstance(key, str) and is_plain(key) and is_exact(part) for key, part in value.items()
            )
        case list():
            return all(is_exact(part) for part in value)
    return is_plain(value)


def has_objects(value: Any) -> bool:
    """Tell whether LangGraph would make objects of parts of a JSON row."""
    match value:
        case dict():
            return "lc" in value or any(has_objects(part) for part in value.values())
        case list():
            return any(has_objects(part) for part in value)
    return False


def joined(values: dict[str, str]) -> str:
    """Return an object of values that are JSON text already."""
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in values.items()) + "}"


def _past(text: str, at: int, sign: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != sign:
        raise ValueError(f"it has no {sign!r} at {at}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}")
