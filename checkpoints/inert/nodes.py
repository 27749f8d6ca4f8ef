"""What stands in a value for objects that reading does not build: plain records, never code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

Raw: TypeAlias = bytes | str | None
"""A row's value as the database holds it: None where that is NULL, text where it is text."""


class Kind(IntEnum):
    """How LangGraph would build the object: its msgpack extension codes."""

    SINGLE = 0
    POSITIONAL = 1
    KEYWORDS = 2
    METHOD = 3
    PYDANTIC_V1 = 4
    PYDANTIC_V2 = 5
    NUMPY = 6
    DELTA = 7


@dataclass(frozen=True, slots=True)
class Constructed:
    """An object by the name of its class and what its constructor, or `method`, was to be given.

    `payload` is the argument (`SINGLE`, `METHOD`), a list of them (`POSITIONAL`) or a dict (all others).
    """

    kind: Kind
    module: str
    name: str
    payload: Any
    method: str | None = None


@dataclass(frozen=True, slots=True)
class NumpyArray:
    """An array: `dtype` as numpy's type string, `order` "C" or "F", `raw` its elements."""

    dtype: str
    shape: tuple[int, ...]
    order: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class DeltaSnapshot:
    """The whole value of a delta channel, as far as it had come."""

    value: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An extension of unknown code, or whose payload is not what its code promises."""

    code: int
    raw: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A row that stays closed: no key, or a cipher unknown here. Its stored type is `type+cipher`."""

    type: str
    cipher: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Rotten:
    """A row, or a part of a value, that cannot be read. `reason` completes "it cannot be read: …".

    `type` and `raw` are as stored: None where the database holds NULL, text where it holds text.
    """

    type: str | None
    raw: Raw
    reason: str
