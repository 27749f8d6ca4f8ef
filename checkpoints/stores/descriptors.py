"""Descriptors on database files, kept open while connections may hold locks on the same file.

Closing any descriptor of a file drops all POSIX locks that this process holds on it, those of SQLite's
connections included; a writer elsewhere would then believe that nobody reads. So a file is opened once,
read with `pread`, and closed when it has left its path or when nothing refers to it any more.
"""

from __future__ import annotations

import os
import threading

KEPT = 128

_kept: dict[str, Descriptor] = {}
_lock = threading.Lock()


class Descriptor:
    """A file open for reading."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.status = os.fstat(self.fd)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    def read(self, size: int, offset: int) -> bytes:
        """Read up to `size` bytes from `offset`, without moving a position."""
        return os.pread(self.fd, size, offset)


def hold(path: str) -> Descriptor:
    """Return the kept descriptor on the file at this path. Keep a reference while a connection is open."""
    with _lock:
        kept = _kept.pop(path, None)
        if kept is None or not os.path.samestat(kept.status, os.stat(path)):
            kept = Descriptor(path)
        _kept[path] = kept
        if len(_kept) > KEPT:
            del _kept[next(iter(_kept))]
        return kept
