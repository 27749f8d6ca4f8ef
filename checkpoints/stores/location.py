"""Where a store is: what the user typed, parsed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from checkpoints.errors import UnsupportedLocation

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class Location:
    """The place of one SQLite store. `text` is what the user typed, `path` the absolute path."""

    text: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Location:
        """Parse a path. Raises UnsupportedLocation for a URL."""
        if not text:
            raise UnsupportedLocation("No path was given.")
        if scheme := _SCHEME.match(text):
            raise UnsupportedLocation(f"No store is opened by {scheme[0]} yet.")
        return cls(text, os.path.abspath(os.path.expanduser(text)))

    @property
    def name(self) -> str:
        """The file's name, without its folder, as it can be shown."""
        return shown(os.path.basename(self.path))


def shown(path: str) -> str:
    """Return a path as text that can be written, also one whose bytes are no text."""
    return os.fsencode(path).decode(errors="replace")
