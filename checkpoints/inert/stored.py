"""Values that remember the row they came from, so that they go back unchanged byte for byte."""

from __future__ import annotations

from typing import Any


class StoredDict(dict[Any, Any]):
    """A row's dict with the row's own type and bytes. A copy of it is a plain dict."""

    __slots__ = ("raw", "type")

    type: str
    raw: bytes | str


class StoredList(list[Any]):
    """A row's list with the row's own type and bytes. A copy of it is a plain list."""

    __slots__ = ("raw", "type")

    type: str
    raw: bytes | str


def stored(value: Any, type: str, raw: bytes | str) -> Any:
    """Return a dict or list that remembers its row; anything else as it is."""
    if not isinstance(value, dict | list):
        return value
    kept = StoredDict(value) if isinstance(value, dict) else StoredList(value)
    kept.type = type
    kept.raw = raw
    return kept
