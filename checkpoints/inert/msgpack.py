"""Msgpack rows, decoded with every extension left closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ormsgpack

from checkpoints.inert.budget import DEFAULT, Budget, OverBudget
from checkpoints.inert.nodes import Constructed, DeltaSnapshot, Kind, NumpyArray, Rotten, Unreadable
from checkpoints.inert.scanner import Malformed, Scanner, Span, is_container, is_map

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN = ormsgpack.OPT_NON_STR_KEYS
_PAYLOADS: dict[int, type] = {
    Kind.SINGLE: object,
    Kind.POSITIONAL: list,
    Kind.KEYWORDS: dict,
    Kind.METHOD: object,
    Kind.PYDANTIC_V1: dict,
    Kind.PYDANTIC_V2: dict,
}
_PACKED_DEPTH = 255  # ormsgpack reads deeper than it writes
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


def channel_spans(blob: bytes, budget: Budget = DEFAULT) -> dict[str, bytes] | None:
    """Return the raw msgpack of each channel value in a checkpoint; None when the blob is not such a map."""
    if not blob or len(blob) > budget.bytes or not is_map(blob[0]):
        return None
    walk = _Walk(blob, budget)
    try:
        start = walk.find("channel_values")
        if start in (None, len(blob)) or not is_map(blob[start]):
            return None
        channels = {name: blob[part.start : part.end] for name, part in walk.pairs(start)}
    except ValueError:
        return None
    return channels if all(isinstance(name, str) for name in channels) else None


class _Walk:
    """Decodes a big or damaged value part by part, down two levels."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        self._data = data
        self._budget = budget
        self._scanner = Scanner(data, budget.seconds)
        self._nodes = 0

    def value(self) -> Any:
        """Decode the whole. Raises ValueError when it is a leaf that is damaged, or a container too wide."""
        if not is_container(self._data[0]):
            return _unpack(self._data, self._budget.depth)
        if len(self._data) <= self._budget.inline and self._fits(whole := self._scanner.span(0)):
            try:
                return self._decoded(whole, 0)
            except ValueError:
                pass
        return self._container(0, 1)

    def find(self, name: str) -> int | None:
        """Return where the value of a key of the outermost map begins."""
        _, children = self._scanner.children(0)
        for key in children:
            if self._key(key) == name:
                return key.end
            next(children)
        return None

    def pairs(self, start: int) -> Iterator[tuple[Any, Span]]:
        """Yield each key of the map at `start`, decoded, and the span of its value."""
        count, children = self._scanner.children(start)
        self._spend(count)
        for key in children:
            yield self._key(key), next(children)

    def _container(self, start: int, level: int) -> Any:
        if is_map(self._data[start]):
            pairs = list(self.pairs(start))
            values = self._parts([span for _, span in pairs], level)
            return {key: value for (key, _), value in zip(pairs, values, strict=True)}
        count, children = self._scanner.children(start)
        self._spend(count)
        return self._parts(list(children), level)

    def _parts(self, spans: list[Span], level: int) -> list[Any]:
        """Decode the small ones first, so that a huge channel costs neither the others nor the versions."""
        values: list[Any] = [None] * len(spans)
        for index in sorted(range(len(spans)), key=lambda index: spans[index].nodes):
            values[index] = self._part(spans[index], level)
        return values

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
                return self._container(span.start, level + 1)
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
        if self._nodes + nodes > self._budget.nodes:
            raise OverBudget(f"it holds more than {self._budget.nodes:,} values")
        self._nodes += nodes


def _unpack(data: bytes, depth: int) -> Any:
    value = ormsgpack.unpackb(data, ext_hook=Extension, option=_PLAIN)
    if _is_deeper(value, depth):
        raise Malformed(f"it is nested deeper than {depth} levels")
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    """Let the packer look, which is 6x faster than Python: wrap the value so that its limit is `depth`."""
    for _ in range(_PACKED_DEPTH - depth):
        value = [value]
    try:
        ormsgpack.packb(value, default=_nothing, option=_PLAIN)
    except ormsgpack.MsgpackEncodeError:
        return True
    return False


def _nothing(_: Any) -> None:
    return None


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
    raw = value.head(value.size) if isinstance(value, Deferred) else value
    if not isinstance(raw, bytes):
        raise Malformed("its elements are no bytes")
    return raw
