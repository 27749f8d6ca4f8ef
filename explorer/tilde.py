"""Tilde-encoding, as Datasette writes arbitrary text into a path: `a/b` becomes `a~2Fb`.

Percent-encoding does not survive in paths: servers and proxies decode `%2F` before routing.
"""

from __future__ import annotations

import re
from string import ascii_letters, digits

SAFE = frozenset((ascii_letters + digits + "_-").encode())
EMPTY = "~"
ESCAPE = re.compile(rb"~([0-9A-F]{2})")


def encode(text: str) -> str:
    """Return text as one path segment of letters, digits, `_`, `-` and `~XX` escapes."""
    raw = text.encode("utf-8", "surrogatepass")
    return "".join(chr(byte) if byte in SAFE else f"~{byte:02X}" for byte in raw) or EMPTY


def decode(segment: str) -> str:
    """Return the text of a path segment. Raises ValueError for one that `encode` never gives."""
    text = "" if segment == EMPTY else _unescaped(segment).decode("utf-8", "surrogatepass")
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
