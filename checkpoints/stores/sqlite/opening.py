"""How to open a SQLite file so that reading it leaves no trace and disturbs nobody."""

from __future__ import annotations

import os
import stat
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from checkpoints.errors import NotADatabase, StoreIsDirectory, StoreMissing, StoreUnreadable
from checkpoints.stores.location import shown
from checkpoints.stores.sqlite.descriptors import Descriptor, drop_gone, hold

MAGIC = b"SQLite format 3\x00"
WRITE_VERSION, READ_VERSION = 18, 19
WAL_VERSION = 2
SHARED_MEMORY_LOCK = 128  # the byte of -shm on which every connection of a WAL file holds a lock


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What changes when somebody writes: device, inode, mtime in ns and bytes of a database and its logs."""

    database: tuple[int, int, int, int] | None
    wal: tuple[int, int, int, int] | None
    journal: tuple[int, int, int, int] | None

    @classmethod
    def of(cls, path: str) -> Fingerprint:
        """Take it of the file at this path, without opening anything."""
        path = os.path.realpath(path)  # the logs of a link lie beside its target
        return cls(_identity(path), _identity(f"{path}-wal"), _identity(f"{path}-journal"))

    @property
    def bytes(self) -> int:
        """The database and its -wal together."""
        return (self.database[-1] if self.database else 0) + self.wal_bytes

    @property
    def wal_bytes(self) -> int:
        return self.wal[-1] if self.wal else 0

    @property
    def age_ns(self) -> int:
        """How long ago the last of the files changed; 0 where there is none."""
        times = [stamp[2] for stamp in (self.database, self.wal, self.journal) if stamp]
        return time.time_ns() - max(times) if times else 0


@dataclass(frozen=True, slots=True)
class Opening:
    """One way into a file.

    `fingerprint` is set when SQLite takes no locks, so that what was read counts only if the file has not
    `moved` meanwhile. `stranded` is a -wal that no writer is alive to care for: SQLite could only read it
    by writing beside it, so it reads a `copy`.
    """

    path: str
    journal_mode: str
    fingerprint: Fingerprint | None = None
    stranded: bool = False
    copy: str | None = None
    held: tuple[Descriptor, ...] = field(default=(), repr=False, compare=False)

    @property
    def uri(self) -> str:
        return sqlite_uri(self.copy or self.path, "immutable=1" if self.fingerprint else "mode=ro")

    def moved(self) -> bool:
        """Tell whether somebody wrote since the file was opened without locks."""
        return self.fingerprint is not None and Fingerprint.of(self.path) != self.fingerprint


def choose(path: str) -> Opening:
    """Choose how to open the file at this path, without writing anything.

    A WAL file that nobody has open is read as immutable: `mode=ro` would leave a -wal and a -shm behind,
    and as another user's they lock its owner out.
    """
    _require_file(path)
    path = os.path.realpath(path)
    _require_regular_logs(path)
    fingerprint = Fingerprint.of(path)
    database = _hold(path)
    header = database.read(100, 0)
    _require_database(header, path)
    if WAL_VERSION not in (header[WRITE_VERSION], header[READ_VERSION]):
        return Opening(path, "delete", held=(database,))
    if not fingerprint.wal_bytes:
        return Opening(path, "wal", fingerprint, held=(database,))
    if shared_memory := _shared_memory(path):
        return Opening(path, "wal", held=(database, shared_memory))
    return Opening(path, "wal", fingerprint, stranded=True, held=(database,))


def sqlite_uri(path: str, query: str) -> str:
    """Quote the path, so that a `?mode=rwc` in a file's name stays part of the name."""
    return f"{Path(path).as_uri()}?{query}"


def _require_file(path: str) -> None:
    name = shown(os.path.basename(path))
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        drop_gone()
        raise StoreMissing(f"There is no file {name}.") from None
    except OSError as error:
        raise StoreUnreadable(f"{name} cannot be read: {error.strerror}.") from None
    if stat.S_ISDIR(mode):
        raise StoreIsDirectory(f"{name} is a directory.")
    if not stat.S_ISREG(mode):
        raise NotADatabase(f"{name} is not a regular file.")


def _require_regular_logs(path: str) -> None:
    """SQLite would wait for ever at a pipe."""
    for log in (f"{path}-wal", f"{path}-journal"):
        if os.path.lexists(log) and not os.path.isfile(log):
            raise StoreUnreadable(f"{shown(os.path.basename(log))} is not a regular file.")


def _require_database(header: bytes, path: str) -> None:
    name = shown(os.path.basename(path))
    if not header:
        raise NotADatabase(f"{name} is empty.")
    if len(header) < 100 or not header.startswith(MAGIC):
        raise NotADatabase(f"{name} is not a SQLite database.")


def _hold(path: str) -> Descriptor:
    try:
        return hold(path)
    except FileNotFoundError:
        raise StoreMissing(f"There is no file {shown(os.path.basename(path))}.") from None
    except OSError as error:
        raise StoreUnreadable(f"{shown(os.path.basename(path))} cannot be read: {error.strerror}.") from None


def _identity(path: str) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _shared_memory(path: str) -> Descriptor | None:
    """Return the -shm that living connections share, None where there is none or its users are dead."""
    try:
        shared = hold(f"{path}-shm")
    except FileNotFoundError:
        return None
    except OSError:
        raise StoreUnreadable(f"{shown(os.path.basename(path))}-shm cannot be read.") from None
    return shared if _in_use(shared) else None


def _in_use(shared: Descriptor) -> bool:
    if sys.platform != "linux":
        return True
    import fcntl

    # Unlike F_GETLK it sees the locks of this process, too.
    question = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, SHARED_MEMORY_LOCK, 1, 0)
    try:
        answer: bytes = fcntl.fcntl(shared.fd, fcntl.F_OFD_GETLK, question)
    except OSError:  # not every file system has them
        return True
    return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)
