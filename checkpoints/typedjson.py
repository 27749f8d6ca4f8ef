"""Stored values as JSON that keeps their types: what JSON has no word for becomes `{"$type": …}`.

`parse` is the way back: it makes of such JSON what is stored, and imports no class that it names.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NoReturn

from checkpoints.inert import (
    Constructed,
    Deferred,
    DeltaSnapshot,
    Encrypted,
    Extension,
    Kind,
    NumpyArray,
    Pickled,
    Rotten,
    Unreadable,
)
from checkpoints.inert.packing import encode, fingerprint
from checkpoints.validity import faults

TYPE = "$type"
DTYPE = re.compile(r"[<>|=]?[?biufcmMSUV]\d*(\[\d*\w+\])?")
UNWRITABLE = frozenset({"unreadable", "encrypted", "pickle"})
DEPTH = 200
PARTS = 1_000_000  # about 2 s of work
MARGIN = 16  # levels around a value, of the 255 that can be packed
LONGEST = 1_000_000  # characters of a text that is edited


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


class NotTypedJson(ValueError):
    """A text is not JSON, or is none that can be stored. Says where, and what is wrong there.

    `at` is the character where it stops to be JSON, None where it is JSON.
    """

    def __init__(self, place: str, reason: str, at: int | None = None) -> None:
        super().__init__(f"{place}: {reason}" if place else reason)
        self.place = place
        self.reason = reason
        self.at = at


def written(value: Any) -> str:
    """Return a decoded value as the text that `parse` takes, on several lines."""
    return json.dumps(jsonable(value), ensure_ascii=False, indent=2)


def parse(text: str) -> Any:
    """Return the value that a text writes, its objects closed as in a decoded row. Raises NotTypedJson."""
    if len(text) > LONGEST:
        raise NotTypedJson("", f"It has {len(text):,} characters, more than the {LONGEST:,} for a form.")
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        value = restored(data)
        json.dumps(data, ensure_ascii=False).encode()  # halves of surrogate pairs would be changed
        encode(_nested(value))
    except json.JSONDecodeError as error:
        reason, at = _in_words(error)
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        raise NotTypedJson(f"line {line}, column {column}", reason, at) from None
    except NotTypedJson:
        raise
    except RecursionError:
        raise NotTypedJson("", "It is nested too deeply.") from None
    except (ValueError, TypeError) as error:
        raise NotTypedJson("", f"It cannot be stored: {error}") from None
    for place, reason in faults(value):
        raise NotTypedJson(place, reason)
    return value


def editable(value: Any) -> str:
    """Return the text of a value that can be edited: from it, `parse` makes exactly what is stored.

    Raises NotTypedJson where that is not so.
    """
    text = written(value)
    if len(text) > LONGEST:
        raise NotTypedJson(
            "", f"It has {len(text):,} characters as JSON, more than the {LONGEST:,} for a form."
        )
    try:
        exact = fingerprint(parse(text)) == fingerprint(value)
    except (TypeError, ValueError) as error:
        reason = error.reason if isinstance(error, NotTypedJson) else "JSON cannot hold a part of it."
        raise NotTypedJson("", reason) from None
    if not exact:
        raise NotTypedJson("", "JSON cannot hold it exactly as it is stored.")
    return text


def restored(data: Any, place: str = "") -> Any:
    """Return the value of plain JSON data. Raises NotTypedJson; `place` is where the data stands."""
    match data:
        case list():
            return [restored(item, f"{place}[{number}]") for number, item in enumerate(data)]
        case dict() if TYPE in data:
            return _Typed(data, place).value()
        case dict():
            return {key: restored(item, _below(place, key)) for key, item in data.items()}
    return data


class _Typed:
    """An object with a `$type`, on its way back."""

    def __init__(self, data: dict[str, Any], place: str) -> None:
        self._data, self._place = data, place

    def value(self) -> Any:
        name = self._data[TYPE]
        if not isinstance(name, str):
            self._refuse("A type is a text.", TYPE)
        if name in UNWRITABLE:
            self._refuse(f"What is {name} cannot be written.", TYPE)
        read = self._READERS.get(name)
        return read(self) if read else self._object(name)

    def _bytearray(self) -> bytearray:
        return bytearray(self._bytes("base64"))

    def _snapshot(self) -> Extension:
        self._allow("value")
        return Extension(Kind.DELTA, encode(self._inner("value")))

    def _extension(self) -> Extension:
        if (code := self._of("code", int)) not in range(-128, 128):
            self._refuse("Codes of extensions are from -128 to 127.", "code")
        found = Extension(code, self._bytes("code", "base64"))
        if isinstance(seen := found.open(), Unreadable):
            self._refuse(f"LangGraph cannot read it: {seen.reason}.", "base64")
        return found

    def _object(self, name: str) -> Extension:
        module, dot, cls = name.rpartition(".")
        kinds = {kind.name.lower(): kind for kind in Kind if kind not in (Kind.NUMPY, Kind.DELTA)}
        if not (dot and cls):
            self._refuse("A class is written with its module: module.Class.", TYPE)
        kind = kinds.get(self._of("kind", str))
        if kind is None:
            self._refuse(f"There are the kinds {', '.join(kinds)}.", "kind")
        self._allow("kind", "value", "method")
        payload = self._inner("value")
        if kind is Kind.POSITIONAL and not isinstance(payload, list):
            self._refuse("It is called with a list of arguments.", "value")
        if kind in (Kind.KEYWORDS, Kind.PYDANTIC_V1, Kind.PYDANTIC_V2) and not isinstance(payload, dict):
            self._refuse("Its fields are an object.", "value")
        method = [self._of("method", str)] if "method" in self._data else []
        return Extension(kind, encode([module, cls, payload, *method]))

    def _array(self) -> Extension:
        self._allow("dtype", "shape", "order", "base64")
        shape = self._of("shape", list)
        if not all(type(length) is int for length in shape):
            self._refuse("A shape is a list of whole numbers.", "shape")
        if not DTYPE.fullmatch(self._of("dtype", str)):
            self._refuse("A dtype is one of plain numbers or texts, as <f8.", "dtype")
        fields = [self._of("dtype", str), shape, self._of("order", str), self._bytes(*self._data)]
        return Extension(Kind.NUMPY, encode(fields))

    def _float(self) -> float:
        self._allow("value")
        try:
            return float(self._of("value", str))
        except ValueError:
            self._refuse("It is inf, -inf or nan.", "value")

    def _int(self) -> int:
        self._allow("hex")
        try:
            return int(self._of("hex", str), 16)
        except ValueError:
            self._refuse("It is a hexadecimal number.", "hex")

    def _dict(self) -> dict[Any, Any]:
        self._allow("items")
        found: dict[Any, Any] = {}
        for number, item in enumerate(self._of("items", list)):
            at = f"{_below(self._place, 'items')}[{number}]"
            if not isinstance(item, list) or len(item) != 2:
                raise NotTypedJson(at, "An item is a list of a key and a value.")
            key = restored(item[0], f"{at}[0]")
            key = tuple(key) if isinstance(key, list) else key
            try:
                if key in found:
                    raise NotTypedJson(f"{at}[0]", "This key stands twice.")
                found[key] = restored(item[1], f"{at}[1]")
            except TypeError:
                raise NotTypedJson(f"{at}[0]", "This cannot be a key.") from None
        return found

    _READERS: ClassVar[Mapping[str, Callable[[_Typed], Any]]] = {
        "bytes": lambda self: self._bytes("base64"),
        "bytearray": _bytearray,
        "float": _float,
        "int": _int,
        "dict": _dict,
        "DeltaSnapshot": _snapshot,
        "numpy.ndarray": _array,
        "extension": _extension,
    }

    def _inner(self, key: str) -> Any:
        if key not in self._data:
            self._refuse(f"It has no {key!r}.")
        return restored(self._data[key], _below(self._place, key))

    def _of(self, key: str, type: type[Any]) -> Any:
        if not isinstance(self._data.get(key), type) or isinstance(self._data[key], bool):
            self._refuse(f"It has no {key!r} that is of the type {type.__name__}.", key)
        return self._data[key]

    def _bytes(self, *allowed: str) -> bytes:
        self._allow(*allowed)
        text = self._of("base64", str)
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:  # binascii.Error, and what is no ASCII
            self._refuse("It is not base64.", "base64")

    def _allow(self, *keys: str) -> None:
        if beyond := self._data.keys() - {TYPE, *keys}:
            self._refuse(f"A {self._data[TYPE]} has no {sorted(beyond)[0]!r}.")

    def _refuse(self, reason: str, key: str = "") -> NoReturn:
        raise NotTypedJson(_below(self._place, key) if key in self._data else self._place, reason)


def _nested(value: Any) -> Any:
    """Return a value as deep in others as a checkpoint has it while a graph runs."""
    for _ in range(MARGIN):
        value = [value]
    return value


def _in_words(error: json.JSONDecodeError) -> tuple[str, int]:
    """Return what is wrong, in the words of who typed it, and where, alike in all releases of Python."""
    before = error.doc[: error.pos].rstrip()
    comma = error.pos if error.doc[error.pos : error.pos + 1] == "," else len(before) - 1
    if error.doc[comma : comma + 1] == "," and error.doc[comma + 1 :].lstrip()[:1] in {"]", "}"}:
        return "There is a comma too many.", comma
    return f"{error.msg.removesuffix(' at')}.", error.pos


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise NotTypedJson("", f"The key {key!r} stands twice in one object.")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise NotTypedJson("", f'{name} is no JSON; write {{"$type": "float", "value": "{name.lower()}"}}.')


def _below(place: str, key: str) -> str:
    if key.isidentifier() or key == TYPE:
        return f"{place}.{key}" if place else key
    return f"{place}[{json.dumps(key, ensure_ascii=False)}]"
