"""The two formats in which a state is stored whole: a map whose parts are bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from checkpoints.inert import jsontext as inert_json
from checkpoints.inert import packing
from checkpoints.inert.budget import Budget
from checkpoints.inert.msgpack import decode
from checkpoints.splicing import jsontext, msgpacked

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOMY = Budget(bytes=1 << 30, inline=1 << 30, nodes=1 << 30, seconds=60.0)


class Format(Protocol):
    """A format of stored states. Whatever cannot be read in it raises ValueError."""

    def split(self, raw: bytes) -> dict[str, bytes]:
        """Return the parts of a map; none of null."""

    def join(self, parts: Mapping[str, bytes]) -> bytes:
        """Return the map of these parts."""

    def pack(self, value: Any) -> bytes:
        """Return a value as a part. Raises TypeError for what the format cannot hold."""

    def unpack(self, raw: bytes) -> Any:
        """Return the value of a part, its objects closed."""


class _Msgpack:
    def split(self, raw: bytes) -> dict[str, bytes]:
        return {} if raw == msgpacked.NIL else msgpacked.members(raw)

    def join(self, parts: Mapping[str, bytes]) -> bytes:
        return msgpacked.mapped(parts.items())

    def pack(self, value: Any) -> bytes:
        if isinstance(value, bytearray):
            return msgpacked.packed_bytearray(bytes(value))
        return packing.encode(value)

    def unpack(self, raw: bytes) -> Any:
        return decode(raw, ROOMY)


class _Json:
    def split(self, raw: bytes) -> dict[str, bytes]:
        text = raw.decode()
        return (
            {} if text == "null" else {name: part.encode() for name, part in jsontext.members(text).items()}
        )

    def join(self, parts: Mapping[str, bytes]) -> bytes:
        return jsontext.joined({name: part.decode() for name, part in parts.items()}).encode()

    def pack(self, value: Any) -> bytes:
        return inert_json.encode(value)

    def unpack(self, raw: bytes) -> Any:
        return json.loads(raw.decode())


FORMATS: Mapping[str, Format] = {"msgpack": _Msgpack(), "json": _Json()}
