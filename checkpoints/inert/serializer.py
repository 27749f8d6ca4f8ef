"""The serializer that reads any row and runs none of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from checkpoints.errors import KeyUnusable
from checkpoints.inert import jsontext, msgpack, packing
from checkpoints.inert.aes import Cipher
from checkpoints.inert.budget import DEFAULT, Budget, OverBudget
from checkpoints.inert.msgpack import Deferred
from checkpoints.inert.nodes import Encrypted, Raw, Rotten
from checkpoints.inert.pickled import Pickled
from checkpoints.inert.scanner import Scanner, is_container
from checkpoints.inert.stored import StoredDict, StoredList, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from checkpoints.masking import Masks


class InertSerializer:
    """A `SerializerProtocol` that imports nothing, calls nothing and fails on nothing that is stored.

    What `loads_typed` returns goes back through `dumps_typed` byte for byte. Two things are told apart by
    the row's type alone, so use `dumps_as` for them: a msgpack or JSON row that is just None, and a JSON
    row that is just a string or number.

    With a key, `…+aes` rows are decrypted and whatever is written is encrypted; an encrypted row that did
    not change keeps its bytes, nonce included. Without one they are `Encrypted` and written as they were.

    `masks` name what is not to be shown of the rows. They are kept for those who know what a row is of, as
    Snapshot does; what is decoded here is whole.
    """

    def __init__(
        self, key: bytes | None = None, budget: Budget = DEFAULT, masks: Masks | None = None
    ) -> None:
        self.budget = budget
        self.masks = masks
        self._key = key
        self._cipher = None if key is None else _cipher(key)

    @classmethod
    def from_environment(cls, budget: Budget = DEFAULT, masks: Masks | None = None) -> InertSerializer:
        """Take the key from LANGGRAPH_AES_KEY, as LangGraph does. Raises `KeyUnusable`."""
        key = os.environ.get("LANGGRAPH_AES_KEY")
        serializer = cls(key.encode() if key else None, budget, masks)
        if key and not serializer.decrypts:
            raise KeyUnusable(
                "LANGGRAPH_AES_KEY is set, but pycryptodome is not installed.",
                advice="Install langgraph-checkpoint-explorer[aes], or unset the key.",
            )
        return serializer

    @property
    def decrypts(self) -> bool:
        """Whether there is a key, and pycryptodome to use it with."""
        return self._cipher is not None

    def loads_typed(self, data: tuple[str | None, Raw]) -> Any:
        """Decode a row. Never raises for what is stored: what cannot be read is `Rotten`, in its place."""
        type_, raw = data
        try:
            return self._loaded(type_, raw)
        except ValueError as error:
            return Rotten(type_, raw, str(error))

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Encode a value. Raises TypeError for objects that did not come from a row."""
        type_ = _type_of(obj)
        if self._key is not None and not isinstance(obj, Rotten | Encrypted) and type_ and "+" not in type_:
            type_ += f"+{Cipher.name}"
        # The protocol knows no NULL and no text, but a row that holds them must go back as it was.
        return cast("tuple[str, bytes]", (type_, self.dumps_as(type_, obj)))

    def dumps_as(self, type_: str | None, value: Any) -> Raw:
        """Encode a value in a row's own format, its cipher included. Raises TypeError."""
        if isinstance(value, Rotten | Encrypted):
            return _verbatim(type_, value)
        if isinstance(value, StoredDict | StoredList) and value.type == type_ and self._is_unchanged(value):
            return value.raw
        format_, _, cipher = (type_ or "").partition("+")
        if format_ not in _ENCODERS:
            raise TypeError(f"No row is written with the type {type_!r}.")
        plain = _ENCODERS[format_](value)
        return self._encrypt(cipher, plain) if cipher else plain

    def loads_metadata(self, raw: Raw) -> dict[str, Any] | Rotten:
        """Decode a checkpoint's metadata. NULL is an empty dict, anything but a JSON object `Rotten`."""
        if raw is None:
            return {}
        try:
            value = jsontext.decode(raw if isinstance(raw, str) else _octets(raw), self.budget)
        except ValueError as error:
            return Rotten("json", raw, str(error))
        return value if isinstance(value, dict) else Rotten("json", raw, "it is no JSON object")

    def _loaded(self, type_: str | None, raw: Raw) -> Any:
        if not isinstance(type_, str) or raw is None:
            raise ValueError("the row is NULL")
        if isinstance(raw, str):
            if type_ != "json":
                raise ValueError("it is stored as text")
            return stored(jsontext.decode(raw, self.budget), type_, raw)
        raw = _octets(raw)
        format_, _, cipher = type_.partition("+")
        if not cipher:
            return stored(self._decoded(type_, raw), type_, raw)
        if self._cipher is None or cipher != Cipher.name:
            return Encrypted(format_, cipher, raw)
        if len(raw) > self.budget.bytes:
            raise OverBudget(f"it has {len(raw):,} bytes, more than the {self.budget.bytes:,} that are read")
        return stored(self._decoded(format_, self._cipher.decrypt(raw)), type_, raw)

    def _decoded(self, format_: str, data: bytes) -> Any:
        match format_:
            case "msgpack":
                return _unpacked(data, self.budget)
            case "json":
                return jsontext.decode(data, self.budget)
            case "null":
                return None
            case "bytes":
                return data
            case "bytearray":
                return bytearray(data)
            case "pickle":
                return Pickled(data)
        raise ValueError("no LangGraph release writes this type")

    def _is_unchanged(self, value: StoredDict | StoredList) -> bool:
        fingerprint = jsontext.fingerprint if value.type.startswith("json") else packing.fingerprint
        try:
            return fingerprint(self.loads_typed((value.type, value.raw))) == fingerprint(value)
        except TypeError:
            return False

    def _encrypt(self, cipher: str, plain: bytes) -> bytes:
        if self._cipher is None or cipher != Cipher.name:
            raise TypeError(f"Nothing here can encrypt a row with {cipher!r}.")
        return self._cipher.encrypt(plain)


def _cipher(key: bytes) -> Cipher | None:
    try:
        return Cipher(key)
    except ImportError:
        return None


def _unpacked(data: bytes, budget: Budget) -> Any:
    """Decode a msgpack row; one that is a big string, or that would pack differently, stays closed."""
    if len(data) <= budget.bytes and len(data) > budget.inline and not is_container(data[0]):
        return Deferred("msgpack", data)
    value = msgpack.decode(data, budget)
    if isinstance(value, dict | list) or packing.fingerprint(value) == data:
        return value
    if (end := Scanner(data, budget.seconds).span(0).end) < len(data):
        raise ValueError(f"{len(data) - end} bytes follow its end")
    return Deferred("msgpack", data)


def _type_of(value: Any) -> str | None:
    """Return the type under which a value is stored, as LangGraph chooses it; a rotten one's own, or NULL."""
    match value:
        case None:
            return "null"
        case Encrypted():
            return f"{value.type}+{value.cipher}"
        case StoredDict() | StoredList() | Rotten() | Deferred():
            return value.type
        case Pickled():
            return "pickle"
        case bytes():
            return "bytes"
        case bytearray():
            return "bytearray"
    return "msgpack"


def _verbatim(type_: str | None, value: Rotten | Encrypted) -> Raw:
    if type_ != _type_of(value):
        raise TypeError(f"What cannot be read cannot be written as {type_!r}.")
    return value.raw


def _null(value: Any) -> bytes:
    if value is not None:
        raise TypeError("A row of the type 'null' holds only None.")
    return b""


def _binary(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray):
        raise TypeError(f"A row of bytes cannot hold a {type(value).__qualname__}.")
    return bytes(value)


def _pickle(value: Any) -> bytes:
    if not isinstance(value, Pickled):
        raise TypeError("Only a pickle that was read is written as one; none is made.")
    return value.raw


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "msgpack": packing.encode,
    "json": jsontext.encode,
    "null": _null,
    "bytes": _binary,
    "bytearray": _binary,
    "pickle": _pickle,
}


def _octets(raw: object) -> bytes:
    """Return what a BLOB column holds as bytes. SQLite keeps numbers there too: `bytes(n)` makes n zeros."""
    if not isinstance(raw, bytes | bytearray | memoryview):
        raise ValueError("it is stored as a number")
    return bytes(raw)
