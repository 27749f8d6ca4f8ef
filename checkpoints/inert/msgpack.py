"""Msgpack rows: decoded with every extension left closed, and packed again to the same bytes."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import ormsgpack

from checkpoints.inert.budget import DEFAULT, Budget, OverBudget
from checkpoints.inert.nodes import Constructed, DeltaSnapshot, Kind, NumpyArray, Rotten, Unreadable
from checkpoints.inert.scanner import Malformed, Scanner, Span, is_container, is_map

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACK = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
    | ormsgpack.OPT_REPLACE_SURROGATES
)
_PAYLOADS: dict[int, type] = {
    Kind.SINGLE: object,
    Kind.POSITIONAL: list,
    Kind.KEYWORDS: dict,
    Kind.METHOD: object,
    Kind.PYDANTIC_V1: dict,
    Kind.PYDANTIC_V2: dict,
}
_NESTING = frozenset({dict, list, tuple})
_WALKED_LEVELS = 2  # channel_values, and the channels in it


class Extension:
    """An object as LangGraph stored it, closed: its extension code and its payload, undecoded.

    Hashable and equal by content. Not a dataclass: a page makes thousands, and a frozen one costs 3x.
    """

    __slots__ = ("code", "raw")

    def __init__(self, code: int, raw: bytes) -> None:
        self.code = code
        self.raw = raw

    def open(self, budget: Budget = DEFAULT) -> Constructed | NumpyArray | DeltaSnapshot | Unreadable:
        """Decode one level: extensions within stay closed."""
        try:
            return _opened(self.code, decode(self.raw, budget))
        except ValueError as error:
            return Unreadable(self.code, self.raw, str(error))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Extension):
            return NotImplemented
        return self.code == other.code and self.raw == other.raw

    def __hash__(self) -> int:
        return hash((self.code, self.raw))

    def __repr__(self) -> str:
        return f"Extension({self.code}, {len(self.raw)} bytes)"


class Deferred:
    """A value, or a part of one, that was not decoded because it is big. `raw` is as stored."""

    __slots__ = ("raw", "type")

    def __init__(self, type: str, raw: bytes) -> None:
        self.type = type
        self.raw = raw

    @property
    def size(self) -> int:
        """Bytes, as stored."""
        return len(self.raw)

    def open(self, budget: Budget = DEFAULT) -> Any:
        """Decode it; big parts of it stay `Deferred`. `Rotten` where that fails or goes over the budget."""
        try:
            return decode(self.raw, budget)
        except ValueError as error:
            return Rotten(self.type, self.raw, str(error))

    def head(self, n: int) -> str | bytes | None:
        """Return the first `n` characters of a string or bytes of a binary; None for anything else."""
        header = {0xD9: 2, 0xDA: 3, 0xDB: 5, 0xC4: 2, 0xC5: 3, 0xC6: 5}.get(self.raw[0])
        if header is None:
            return None
        if self.raw[0] < 0xD0:
            return self.raw[header : header + n]
        return self.raw[header : header + 4 * n].decode(errors="ignore")[:n]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Deferred):
            return NotImplemented
        return self.type == other.type and self.raw == other.raw

    def __hash__(self) -> int:
        return hash((self.type, self.raw))

    def __repr__(self) -> str:
        return f"Deferred({self.type!r}, {len(self.raw)} bytes)"


def decode(data: bytes, budget: Budget) -> Any:
    """Decode one value. Parts too big are `Deferred`, parts damaged `Rotten`.

    Raises ValueError, with the reason, when not even its outermost structure can be read.
    """
    if len(data) > budget.bytes:
        raise OverBudget(f"it has {len(data):,} bytes, more than the {budget.bytes:,} that are read")
    if len(data) > min(budget.inline, budget.nodes):
        return _Walk(data, budget).value()
    try:
        return _unpack(data, budget.depth)
    except ValueError:
        if not data or not is_container(data[0]):
            raise
        return _Walk(data, budget).value()


def encode(value: Any) -> bytes:
    """Pack a value; what is closed goes back verbatim. Raises TypeError for what rows cannot hold."""
    if isinstance(value, Deferred | Rotten) and value.type == "msgpack" and isinstance(value.raw, bytes):
        return value.raw
    try:
        return ormsgpack.packb(value, default=_packable, option=_PACK)
    except ormsgpack.MsgpackEncodeError as error:
        raise TypeError(f"A row cannot hold this value: {error}.") from None


def fingerprint(value: Any) -> bytes:
    """Pack a value for comparison only: unlike `==` it tells 1 from True, and it packs what is rotten."""
    return ormsgpack.packb(value, default=_comparable, option=_PACK)


def channel_spans(blob: bytes, budget: Budget = DEFAULT) -> dict[str, bytes] | None:
    """Return the raw msgpack of each channel value in a checkpoint; None when the blob is not such a map."""
    if not blob or len(blob) > budget.bytes or not is_map(blob[0]):
        return None
    walk = _Walk(blob, budget)
    try:
        for key, span in walk.pairs(Span(0, len(blob), 0)):
            if key == "channel_values" and is_map(blob[span.start]):
                channels = {name: blob[part.start : part.end] for name, part in walk.pairs(span)}
                return channels if all(isinstance(name, str) for name in channels) else None
    except ValueError:
        pass
    return None


class _Walk:
    """Decodes a big or damaged value part by part, down two levels."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        self._data = data
        self._budget = budget
        self._scanner = Scanner(data, budget.seconds)
        self._nodes = 0

    def value(self) -> Any:
        """Decode the whole. Raises ValueError when it is a leaf that is damaged, or a container too wide."""
        whole = self._scanner.span(0)
        if not is_container(self._data[0]):
            return _unpack(self._data, self._budget.depth)
        if self._fits(whole):
            try:
                return self._decoded(whole, 0)
            except ValueError:
                pass
        return self._container(whole, 1)

    def pairs(self, span: Span) -> Iterator[tuple[Any, Span]]:
        """Yield each key of a map, decoded, and the span of its value."""
        count, children = self._scanner.children(span.start)
        self._spend(count)
        for key in children:
            yield self._key(key), next(children)

    def _container(self, span: Span, level: int) -> Any:
        if is_map(self._data[span.start]):
            return {key: self._part(child, level) for key, child in self.pairs(span)}
        count, children = self._scanner.children(span.start)
        self._spend(count)
        return [self._part(child, level) for child in children]

    def _part(self, span: Span, level: int) -> Any:
        raw = self._data[span.start : span.end]
        failure = None
        if self._fits(span):
            try:
                return self._decoded(span, level)
            except ValueError as error:
                failure = str(error)
        if level < _WALKED_LEVELS and is_container(raw[0]):
            try:
                return self._container(span, level + 1)
            except OverBudget:
                failure = None  # opened on its own it has a budget of its own
            except ValueError as error:
                failure = str(error)
        return Rotten("msgpack", raw, failure) if failure else Deferred("msgpack", raw)

    def _fits(self, span: Span) -> bool:
        small = span.end - span.start <= self._budget.inline
        return small and self._nodes + span.nodes <= self._budget.nodes

    def _decoded(self, span: Span, level: int) -> Any:
        value = _unpack(self._data[span.start : span.end], self._budget.depth - level)
        self._nodes += span.nodes
        return value

    def _key(self, span: Span) -> Any:
        """Decode a key as the key of a map, which makes tuples of arrays."""
        raw = self._data[span.start : span.end]
        if len(raw) > self._budget.inline:
            raise OverBudget("a key in it is too long")
        return next(iter(_unpack(b"\x81" + raw + b"\xc0", self._budget.depth)))

    def _spend(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > self._budget.nodes:
            raise OverBudget(f"it holds more than {self._budget.nodes:,} values")


def _unpack(data: bytes, depth: int) -> Any:
    value = ormsgpack.unpackb(data, ext_hook=Extension, option=ormsgpack.OPT_NON_STR_KEYS)
    if _is_deeper(value, depth):
        raise Malformed(f"it is nested deeper than {depth} levels")
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    """Look level by level, at containers only: a quarter of the time that unpacking took."""
    level = [value] if type(value) in _NESTING else []
    for _ in range(depth):
        level = [
            child
            for node in level
            for child in (chain(node, node.values()) if type(node) is dict else node)
            if type(child) in _NESTING
        ]
        if not level:
            return False
    return bool(level)


def _opened(code: int, payload: Any) -> Constructed | NumpyArray | DeltaSnapshot:
    match code, payload:
        case Kind.DELTA, value:
            return DeltaSnapshot(value)
        case Kind.NUMPY, [str(dtype), list(shape), str(order), elements]:
            return NumpyArray(dtype, tuple(shape), order, _elements(elements))
        case _, [str(module), str(name), argument, *rest] if isinstance(argument, _PAYLOADS.get(code, ())):
            return Constructed(Kind(code), module, name, argument, _method(rest))
    if not 0 <= code < len(Kind):
        raise Malformed(f"no LangGraph type has the extension code {code}")
    raise Malformed(f"its payload is not what extension code {code} promises")


def _method(rest: list[Any]) -> str | None:
    """Older releases stored a list of methods to try, the last of which always works."""
    last = rest[0][-1] if rest and isinstance(rest[0], list) and rest[0] else rest[0] if rest else None
    return last if isinstance(last, str) else None


def _elements(value: Any) -> bytes:
    raw = value.open() if isinstance(value, Deferred) else value
    if not isinstance(raw, bytes):
        raise Malformed("its elements are no bytes")
    return raw


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
    if isinstance(value, Rotten) and isinstance(value.raw, bytes):
        return ormsgpack.Ext(127, value.raw)
    return _packable(value)
