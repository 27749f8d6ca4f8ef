"""Looks at the rows of one table: how many, of which types, and what of them cannot be read."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from checkpoints.diagnosis import Table
from checkpoints.inert import (
    Constructed,
    Deferred,
    DeltaSnapshot,
    Encrypted,
    Extension,
    InertSerializer,
    Pickled,
    Rotten,
    Unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW_SECONDS: Final = 2.0
TOO_DEEP: Final = "too deep"
JSONB: Final = "jsonb"
NO_VALUE: Final = "empty"
TYPES: Final = frozenset({"msgpack", "json", "null", "bytes", "bytearray", "pickle", JSONB, NO_VALUE})
NUMBER: Final = re.compile(r"(?<![-\w])\d[\d,]*")


class Examination:
    """Counts the rows of one table. Keeps nothing of them."""

    def __init__(self, name: str, serde: InertSerializer) -> None:
        self.name = name
        self.javascript = False
        self.serde = serde
        self._rows = self._bytes = self._largest = 0
        self._types: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()
        self._rotten: Counter[str] = Counter()

    def table(self) -> Table:
        return Table(
            self.name,
            self._rows,
            self._bytes,
            self._largest,
            dict(self._types),
            dict(self._closed),
            dict(self._rotten),
        )

    def problems(self) -> Iterator[str]:
        for reason, rows in self._rotten.items():
            yield f"{rows:,} of {self._rows:,} rows of {self.name}: {reason}."

    def look(self, type: str | None, size: int, value: bytes | None, metadata: bytes | str | None) -> None:
        """Look at a row; `value` is None where it is NULL, and where it was left out for its size."""
        self._rows += 1
        self._bytes += size
        self._largest = max(self._largest, size)
        self._types[_known(type)] += 1
        if type != NO_VALUE or value is not None:
            self._look_into(type, size, value)
        if isinstance(read := self.serde.loads_metadata(metadata), Rotten):
            self._rotten[f"metadata: {_general(read.reason)}"] += 1

    def _look_into(self, type: str | None, size: int, value: bytes | None) -> None:
        if value is None and size:
            self._closed["too large"] += 1
            return
        match loaded := self.serde.loads_typed(("json" if type == JSONB else type, value)):
            case Encrypted():
                self._closed["encrypted"] += 1
            case Pickled():
                self._closed["pickled"] += 1
            case _:
                self._note(_damage(loaded))
        if isinstance(loaded, dict) and type == "json":
            # JavaScript writes the time as 2026-11-20T10:32:12.614Z, Python with an offset.
            self.javascript |= str(loaded.get("ts", "")).endswith("Z")

    def _note(self, damage: str | None) -> None:
        if damage == TOO_DEEP:
            self._closed[damage] += 1
        elif damage:
            self._rotten[_general(damage)] += 1


def _damage(value: Any) -> str | None:
    """Return why some part of a value cannot be read, None when all of it can."""
    parts, until = [value], time.monotonic() + ROW_SECONDS
    while parts:
        match parts.pop():
            case Rotten(reason=reason) | Unreadable(reason=reason):
                return reason
            case Extension() | Deferred() as closed:
                parts.append(closed.open())
            case Constructed(payload=inner) | DeltaSnapshot(value=inner):
                parts.append(inner)
            case dict() as mapping:
                parts.extend(mapping.values())
            case list() | tuple() as sequence:
                parts.extend(sequence)
        if time.monotonic() > until:
            return TOO_DEEP
    return None


def _known(type: str | None) -> str:
    """Name a row's type; one that no release writes may be anybody's text."""
    if type is None:
        return "NULL"
    return type if str(type).removesuffix("+aes") in TYPES else "unknown"


def _general(reason: str) -> str:
    """Leave out numbers, so that rows with the same trouble count as one kind."""
    return NUMBER.sub("…", reason)
