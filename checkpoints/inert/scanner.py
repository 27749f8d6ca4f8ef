"""Finds where msgpack values begin and end, without decoding them."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

from checkpoints.inert.budget import OverBudget

if TYPE_CHECKING:
    from collections.abc import Iterator


class Malformed(ValueError):
    """Bytes that are no msgpack."""


class Span(NamedTuple):
    """A value within a buffer: its bytes are `data[start:end]`, and it holds `nodes` values."""

    start: int
    end: int
    nodes: int


# By first byte. `_FIXED`: the length of the token, of a container's header; 0 where it varies. `_CHILDREN`:
# how many values follow it. `_LENGTH`: how many bytes its length takes, and how many more the header has.
# `_COUNT`: how many bytes its count takes, and how many values each is.
_FIXED = [1] * 256
_CHILDREN = [0] * 256
_LENGTH: dict[int, tuple[int, int]] = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0),
    0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),
}  # fmt: skip
_COUNT: dict[int, tuple[int, int]] = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}

_CHILDREN[0x80:0x90] = range(0, 32, 2)
_CHILDREN[0x90:0xA0] = range(16)
_FIXED[0xA0:0xC0] = range(1, 33)
_FIXED[0xCA:0xD9] = [5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18]
for _byte in (0xC1, *_LENGTH, *_COUNT):
    _FIXED[_byte] = 0

# Vectors are the one thing of a million tokens that real states hold: passed over at the speed of C.
_RUN_FROM = 16
_RUN_STEP = 1024
_ONES = re.compile(rb"[\x00-\x80\x90\xc0\xc2\xc3\xe0-\xff]*")
_DOUBLE, _DOUBLE_WIDTH = 0xCB, 9


def is_container(byte: int) -> bool:
    """Say whether a value that starts with this byte is a map or an array."""
    return 0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF


def is_map(byte: int) -> bool:
    """Say whether a value that starts with this byte is a map."""
    return 0x80 <= byte <= 0x8F or 0xDE <= byte <= 0xDF


class Scanner:
    """A pass over one buffer that gives up (`OverBudget`) after some seconds."""

    __slots__ = ("_data", "_deadline", "_seconds", "_steps")

    def __init__(self, data: bytes, seconds: float) -> None:
        self._data = data
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._steps = 0

    def span(self, start: int) -> Span:
        """Return the span of the value at `start`. Raises `Malformed` where the buffer ends before it."""
        data, pos, pending, steps, passed = self._data, start, 1, 0, 0
        try:
            while pending > 0:
                steps += 1
                if not steps & 0x3FFF:
                    self._tick()
                byte = data[pos]
                if size := _FIXED[byte]:
                    pos += size
                    pending += _CHILDREN[byte] - 1
                    continue
                pos, children = self._open(pos)
                if children >= _RUN_FROM:
                    pos, run = self._run(pos, children)
                    passed += run
                    children -= run
                pending += children - 1
        except IndexError:
            raise Malformed("it ends in the middle of a value") from None
        if pos > len(data):
            raise Malformed("it ends in the middle of a value")
        return Span(start, pos, steps + passed)

    def children(self, start: int) -> tuple[int, Iterator[Span]]:
        """Return the number of values directly in the container at `start`, and their spans, keys too."""
        pos, count = self._open(start)
        return count, self._siblings(pos, count)

    def _siblings(self, pos: int, count: int) -> Iterator[Span]:
        for _ in range(count):
            self._steps += 1
            if not self._steps & 0x3FF:
                self._tick()
            span = self.span(pos)
            yield span
            pos = span.end

    def _open(self, pos: int) -> tuple[int, int]:
        """Return where the token at `pos` ends (a container's: its header) and how many values follow."""
        data = self._data
        byte = data[pos]
        if size := _FIXED[byte]:
            return pos + size, _CHILDREN[byte]
        pos += 1
        if byte in _COUNT:
            width, factor = _COUNT[byte]
            return pos + width, factor * int.from_bytes(data[pos : pos + width])
        if byte in _LENGTH:
            width, rest = _LENGTH[byte]
            return pos + width + rest + int.from_bytes(data[pos : pos + width]), 0
        raise Malformed(f"it holds the byte 0x{byte:02x}, which begins no value")

    def _run(self, pos: int, most: int) -> tuple[int, int]:
        """Pass over values of one byte, or over floats. Return where they end and how many there are."""
        if self._data[pos] == _DOUBLE:
            return self._doubles(pos, most)
        match = _ONES.match(self._data, pos, pos + most)
        end = match.end() if match else pos
        return end, end - pos

    def _doubles(self, pos: int, most: int) -> tuple[int, int]:
        """Go by steps: a header may claim four billion, and thousands of headers may."""
        passed = count = step = 0
        while count == step and passed < most:
            step = min(_RUN_STEP, most - passed)
            heads = self._data[pos : pos + step * _DOUBLE_WIDTH : _DOUBLE_WIDTH]
            count = len(heads) - len(heads.lstrip(b"\xcb"))
            pos += count * _DOUBLE_WIDTH
            passed += count
        return pos, passed

    def _tick(self) -> None:
        if time.monotonic() > self._deadline:
            raise OverBudget(f"it takes longer than {self._seconds:g} s to look through")
