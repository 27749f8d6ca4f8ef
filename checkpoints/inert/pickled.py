"""Pickles, listed opcode by opcode and never loaded."""

from __future__ import annotations

import codecs
import pickletools
from dataclasses import dataclass
from typing import Any

# pickletools decodes text with this codec, whose module Python would import on first use: while reading.
codecs.lookup("raw-unicode-escape")

_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Pickled:
    """A pickle row. What it would build is known only by running it, so it is only listed."""

    raw: bytes

    def listing(self, limit: int = 1000) -> list[str]:
        """Return the first `limit` opcodes, one a line; a last line says where it is damaged or goes on."""
        lines: list[str] = []
        try:
            for opcode, argument, position in pickletools.genops(self.raw):
                if len(lines) == limit:
                    lines.append("… more follows")
                    break
                lines.append(f"{position:>6} {opcode.name} {_shown(argument)}".rstrip())
        except (ValueError, OverflowError, Warning) as error:
            lines.append(f"… damaged here: {str(error)[:_SHOWN]}")
        return lines


def _shown(argument: Any) -> str:
    if argument is None:
        return ""
    if isinstance(argument, str | bytes):
        return repr(argument[:_SHOWN]) + ("…" if len(argument) > _SHOWN else "")
    if isinstance(argument, int) and argument.bit_length() > 4 * _SHOWN:
        return f"an integer of {argument.bit_length()} bits"  # str() refuses very long ones
    return repr(argument)
