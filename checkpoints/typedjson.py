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


def jsonable(value: Any, depth: int = DEPTH) -> Any:
    """Return a decoded value as plain JSON data; what lies deeper than `depth` is marked as unreadable."""
    if not depth:
        return {TYPE: "unreadable", "reason": "nested too deep"}
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if value.bit_length() < 4_000 else {TYPE: "int", "hex": hex(value)}
        case float():
            return value if math.isfinite(value) else {TYPE: "float", "value": str(value)}
        case bytes() | bytearray():
            return {TYPE: type(value).__name__, "base64": base64.b64encode(value).decode("ascii")}
        case list() | tuple():
            return [jsonable(item, depth - 1) for item in value]
        case Mapping():
            return _mapping(value, depth - 1)
        case Extension():
            return _extension(value, depth - 1)
        case Deferred():
            return jsonable(value.open(), depth - 1)
    return _mark(value)


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    if TYPE not in value and all(isinstance(key, str) for key in value):
        return {key: jsonable(item, depth) for key, item in value.items()}
    return {
        TYPE: "dict",
        "items": [[jsonable(key, depth), jsonable(item, depth)] for key, item in value.items()],
    }


def _extension(value: Extension, depth: int) -> dict[str, Any]:
    seen = value.open()
    match seen:
        case Constructed():
            named = {TYPE: f"{seen.module}.{seen.name}", "kind": seen.kind.name.lower()}
            method = {"method": seen.method} if seen.method else {}
            return {**named, **method, "value": jsonable(seen.payload, depth)}
        case NumpyArray():
            raw = base64.b64encode(seen.raw).decode("ascii")
            return {
                TYPE: "numpy.ndarray",
                "dtype": seen.dtype,
                "shape": list(seen.shape),
                "order": seen.order,
                "base64": raw,
            }
        case DeltaSnapshot():
            return {TYPE: "DeltaSnapshot", "value": jsonable(seen.value, depth)}
    return {TYPE: "extension", "code": value.code, "base64": base64.b64encode(value.raw).decode("ascii")}


def _mark(value: Any) -> dict[str, Any]:
    match value:
        case Encrypted():
            return {TYPE: "encrypted", "cipher": value.cipher, "size": len(value.raw)}
        case Pickled():
            return {TYPE: "pickle", "size": len(value.raw)}
        case Rotten() | Unreadable():
            return {TYPE: "unreadable", "reason": value.reason}
    return {TYPE: "unreadable", "reason": f"There is no JSON for {type(value).__name__}."}
