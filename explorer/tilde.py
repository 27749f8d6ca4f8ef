"""Tilde-encoding, as Datasette writes arbitrary text into a path: `a/b` becomes `a~2Fb`.

Percent-encoding does not survive in paths: servers and proxies decode `%2F` before routing.
"""

from __future__ import annotations

import re

SAFE = re.compile(r"[A-Za-z0-9_-]+")
UNSAFE = re.compile(rb"[^A-Za-z0-9_-]")
EMPTY = "~"
ESCAPE = re.compile(rb"~([0-9A-F]{2})")


def encode(text: str) -> str:
    """Return text as one path segment of letters, digits, `_`, `-` and `~XX` escapes."""
    if SAFE.fullmatch(text):
        return text
    raw = text.encode()
    return UNSAFE.sub(lambda match: b"~%02X" % match[0][0], raw).decode("ascii") or EMPTY


def decode(segment: str) -> str:
    """Return the text of a path segment. Raises ValueError for one that `encode` never gives."""
    text = "" if segment == EMPTY else _unescaped(segment).decode()
    if encode(text) != segment:
        raise ValueError("not a tilde-encoded segment")
    return text


def _unescaped(segment: str) -> bytes:
    return ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), segment.encode("ascii"))


class TildeConverter:
    """Path converter for ids that may be any text."""

    regex = r"[A-Za-z0-9_~-]+"

    def to_python(self, value: str) -> str:
        return decode(value)

    def to_url(self, value: str) -> str:
        return encode(value)
