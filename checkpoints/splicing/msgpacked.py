"""Msgpack taken apart and put together by its bytes: values are never decoded, so never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ormsgpack

from checkpoints.inert.scanner import Malformed, Scanner, is_container, is_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECONDS = 60.0  # that one row may take
NIL, TRUE = b"\xc0", b"\xc3"
_BINARIES = {0xC4: 2, 0xC5: 3, 0xC6: 5}  # by first byte: the length of the header
_EXTENSIONS = {0xD4: 1, 0xD5: 1, 0xD6: 1, 0xD7: 1, 0xD8: 1, 0xC7: 2, 0xC8: 3, 0xC9: 5}  # where the code is
_LEAVES = (
    range(0x80),
    range(0xA0, 0xC1),
    range(0xC2, 0xC4),
    range(0xCA, 0xD4),
    range(0xD9, 0xDC),
    range(0xE0, 0x100),
)
_DELTA = 7
_BYTEARRAY = ("builtins", "bytearray")


def members(raw: bytes) -> dict[str, bytes]:
    """Return the bytes of each value of a map. Raises ValueError for what is no map with text for keys."""
    if not raw or not is_map(raw[0]):
        raise Malformed("it is no map")
    found: dict[str, bytes] = {}
    end = {0xDE: 3, 0xDF: 5}.get(raw[0], 1)
    _, spans = Scanner(raw, SECONDS).children(0)
    for key in spans:
        value = next(spans)
        name = ormsgpack.unpackb(raw[key.start : key.end])
        if not isinstance(name, str):
            raise Malformed("it has a key that is no text")
        found[name] = raw[value.start : value.end]
        end = value.end
    if end != len(raw):
        raise Malformed("bytes follow its end")
    return found


def items(raw: bytes) -> list[bytes]:
    """Return the bytes of each value of an array. Raises ValueError for what is none."""
    if not raw or not is_container(raw[0]) or is_map(raw[0]):
        raise Malformed("it is no array")
    _, spans = Scanner(raw, SECONDS).children(0)
    return [raw[span.start : span.end] for span in spans]


def require_one(raw: bytes) -> bytes:
    """Return the bytes of one value. Raises ValueError when they are less, or more."""
    if not raw or Scanner(raw, SECONDS).span(0).end != len(raw):
        raise Malformed("it is not one value")
    return raw


def mapped(values: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a map of values that are packed already."""
    pairs = list(values)
    parts = [_header(0x80, 0xDE, len(pairs))]
    for name, raw in pairs:
        parts += (ormsgpack.packb(name), raw)
    return b"".join(parts)


def listed(values: Sequence[bytes]) -> bytes:
    """Return an array of values that are packed already."""
    return b"".join((_header(0x90, 0xDC, len(values)), *values))


def binary(raw: bytes) -> bytes | None:
    """Return what a packed `bytes` holds; None for any other value."""
    return raw[header:] if (header := _BINARIES.get(raw[0])) else None


def bytearray_of(raw: bytes) -> bytes | None:
    """Return what `packed_bytearray` packed; None for any other value."""
    if _code(raw) != 0:
        return None
    try:
        module, name, payload = ormsgpack.unpackb(raw[_EXTENSIONS[raw[0]] + 1 :], ext_hook=lambda *_: None)
    except (TypeError, ValueError):
        return None
    found = (module, name) == _BYTEARRAY and isinstance(payload, bytes)
    return payload if found and packed_bytearray(payload) == raw else None


def packed_bytearray(payload: bytes) -> bytes:
    """Pack a bytearray as LangGraph packs other types: msgpack's own would come back as bytes."""
    return ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb([*_BYTEARRAY, payload])))


def is_snapshot(raw: bytes) -> bool:
    """Tell whether a value is a DeltaChannel's, stored whole."""
    return _code(raw) == _DELTA


def is_leaf(raw: bytes) -> bool:
    """Tell whether a value is one of JSON's: nil, a boolean, a number or text."""
    return any(raw[0] in range_ for range_ in _LEAVES)


def _code(raw: bytes) -> int | None:
    place = _EXTENSIONS.get(raw[0])
    return raw[place] if place and len(raw) > place else None


def _header(small: int, large: int, count: int) -> bytes:
    if count < 16:
        return bytes((small | count,))
    if count < 1 << 16:
        return bytes((large,)) + count.to_bytes(2)
    return bytes((large + 1,)) + count.to_bytes(4)
