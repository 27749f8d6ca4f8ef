"""Packs what was decoded to the bytes that it was decoded from."""

from __future__ import annotations

from typing import Any

import ormsgpack

from checkpoints.inert.msgpack import Deferred, Extension
from checkpoints.inert.nodes import Encrypted, Rotten
from checkpoints.inert.pickled import Pickled

_PACK = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
    | ormsgpack.OPT_REPLACE_SURROGATES
)


def encode(value: Any) -> bytes:
    """Pack a value; what is closed goes back verbatim. Raises TypeError for what rows cannot hold."""
    if isinstance(value, Deferred | Rotten) and value.type == "msgpack" and isinstance(value.raw, bytes):
        return value.raw
    try:
        return ormsgpack.packb(value, default=_packable, option=_PACK)
    except ormsgpack.MsgpackEncodeError as error:
        raise TypeError(f"A row cannot hold this value: {error}.") from None


def fingerprint(value: Any) -> bytes:
    """Pack a value for comparison only: unlike `==` it tells 1 from True, and packs what is rotten."""
    try:
        return ormsgpack.packb(value, default=_comparable, option=_PACK)
    except ormsgpack.MsgpackEncodeError:  # numbers of more than 64 bits, which JSON has, or nested too deeply
        return repr(_sized(value)).encode("utf-8", "surrogatepass")


def _sized(value: Any) -> Any:
    """Return a value whose long numbers are hexadecimal: Python refuses to write the longest otherwise."""
    match value:
        case int() if value.bit_length() > 64:
            return ("int", hex(value))
        case dict():
            return {repr(_sized(key)): _sized(item) for key, item in value.items()}
        case list() | tuple():
            return [_sized(item) for item in value]
        case Extension() | Deferred() | Rotten() | Encrypted() | Pickled():
            return type(value).__name__, value.raw
    return value


def _packable(value: Any) -> ormsgpack.Ext | ormsgpack.Fragment:
    if isinstance(value, Extension):
        if value.code >= 0:
            return ormsgpack.Ext(value.code, value.raw)
        header = b"\xc9" + len(value.raw).to_bytes(4) + value.code.to_bytes(1, signed=True)
        return ormsgpack.Fragment(header + value.raw)
    if isinstance(value, Deferred | Rotten) and value.type == "msgpack" and isinstance(value.raw, bytes):
        return ormsgpack.Fragment(value.raw)
    raise TypeError(type(value).__qualname__)  # ormsgpack makes its own message, with the name


def _comparable(value: Any) -> ormsgpack.Ext | ormsgpack.Fragment:
    if isinstance(value, Deferred | Rotten | Encrypted | Pickled):
        # A fragment would have to be sound. What is NULL or was too large to be read has no bytes.
        return ormsgpack.Ext(127, value.raw if isinstance(value.raw, bytes) else repr(value).encode())
    return _packable(value)
