"""Descriptors on database files, kept open while connections may hold locks on the same file.

Closing any descriptor of a file drops all POSIX locks that this process holds on it, those of SQLite's
connections included; a writer elsewhere would then believe that nobody reads. So a file is opened once,
read with `pread`, and kept. It is dropped at the next look at any store after it left its path, since
until it is closed a deleted file keeps its room on the disk; and once more than `KEPT` are. What is dropped
is closed when no connection refers to it any more.
"""

from __future__ import annotations

import errno
import os
import stat
import threading

KEPT = 128

_kept: dict[str, Descriptor] = {}
_lock = threading.RLock()


class Descriptor:
    """A file open for reading."""

    def __init__(self, path: str) -> None:
        # A pipe would keep its opener waiting for a writer.
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.status = os.fstat(self.fd)
        if not stat.S_ISREG(self.status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    def is_at(self, path: str) -> bool:
        """Tell whether this is the file at the path."""
        try:
            return os.path.samestat(self.status, os.stat(path))
        except OSError:
            return False

    def read(self, size: int, offset: int) -> bytes:
        """Read up to `size` bytes from `offset`, without moving a position."""
        return os.pread(self.fd, size, offset)


def hold(path: str) -> Descriptor:
    """Return the kept descriptor on the file at this path. Keep a reference while a connection is open."""
    with _lock:
        drop_gone()
        kept = _kept.pop(path) if path in _kept else Descriptor(path)
        _kept[path] = kept
        if len(_kept) > KEPT:
            del _kept[next(iter(_kept))]
        return kept


def drop_gone() -> None:
    """Drop the descriptors of files that are no longer at their path."""
    with _lock:
        for path in [path for path, kept in _kept.items() if not kept.is_at(path)]:
            del _kept[path]
