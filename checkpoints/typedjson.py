"""Stored values as JSON that keeps their types: what JSON has no word for becomes `{"$type": …}`."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

from checkpoints.inert import (
    Constructed,
    Deferred,
    DeltaSnapshot,
    Encrypted,
    Extension,
    NumpyArray,
    Pickled,
    Rotten,
    Unreadable,
)

TYPE = "$type"
DEPTH = 200
PARTS = 1_000_000  # about 2 s of work


def jsonable(value: Any) -> Any:
    """Return a decoded value as plain JSON data. What is nested too deep, or beyond `PARTS`, is marked."""
    return _Walk(PARTS).of(value, DEPTH)


class _Walk:
    """One walk through a value, with the number of parts that it may still meet."""

    def __init__(self, parts: int) -> None:
        self.left = parts

    def of(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if depth < 0 or self.left < 0:
            return {TYPE: "unreadable", "reason": "nested too deep" if depth < 0 else "too many parts"}
        match value:
            case None | bool() | str():
                return value
            case int():
                return value if value.bit_length() < 4_000 else {TYPE: "int", "hex": hex(value)}
            case float():
                return value if math.isfinite(value) else {TYPE: "float", "value": str(value)}
            case bytes() | bytearray():
                return {TYPE: type(value).__name__, "base64": _base64(value)}
            case list() | tuple():
                return [self.of(item, depth - 1) for item in value]
            case Mapping():
                return self._mapping(value, depth - 1)
            case Extension():
                return self._extension(value, depth - 1)
            case Deferred():
                return self.of(value.open(), depth - 1)
        return _mark(value)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        if TYPE not in value and all(isinstance(key, str) for key in value):
            return {key: self.of(item, depth) for key, item in value.items()}
        items = [[self.of(key, depth), self.of(item, depth)] for key, item in value.items()]
        return {TYPE: "dict", "items": items}

    def _extension(self, value: Extension, depth: int) -> dict[str, Any]:
        seen = value.open()
        match seen:
            case Constructed():
                named = {TYPE: f"{seen.module}.{seen.name}", "kind": seen.kind.name.lower()}
                method = {"method": seen.method} if seen.method else {}
                return {**named, **method, "value": self.of(seen.payload, depth)}
            case NumpyArray():
                shape = self.of(list(seen.shape), depth)
                facts = {"dtype": seen.dtype, "shape": shape, "order": seen.order}
                return {TYPE: "numpy.ndarray", **facts, "base64": _base64(seen.raw)}
            case DeltaSnapshot():
                return {TYPE: "DeltaSnapshot", "value": self.of(seen.value, depth)}
        return {TYPE: "extension", "code": value.code, "base64": _base64(value.raw)}


def _base64(raw: bytes | bytearray) -> str:
    return base64.b64encode(raw).decode("ascii")


def _mark(value: Any) -> dict[str, Any]:
    match value:
        case Encrypted():
            return {TYPE: "encrypted", "cipher": value.cipher, "size": len(value.raw)}
        case Pickled():
            return {TYPE: "pickle", "size": len(value.raw)}
        case Rotten() | Unreadable():
            return {TYPE: "unreadable", "reason": value.reason}
    return {TYPE: "unreadable", "reason": f"There is no JSON for {type(value).__name__}."}
