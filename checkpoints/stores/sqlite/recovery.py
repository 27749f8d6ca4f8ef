"""Private copies of files whose writer died in the middle of something.

To read such a file SQLite first finishes or undoes what the writer left, which writes. So it does that to
a copy, which is kept as long as the original stays as it is, and removed when the process ends.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
import threading
from contextlib import closing
from dataclasses import replace

from checkpoints.errors import NoRoomForCopy, StoreBusy, StoreUnreadable
from checkpoints.stores.location import shown
from checkpoints.stores.sqlite.descriptors import hold
from checkpoints.stores.sqlite.opening import Fingerprint, Opening, sqlite_uri

CHUNK = 1 << 20
SPARE = 64 << 20  # bytes of the disk that a copy leaves free

_copies: dict[str, tuple[Fingerprint, str]] = {}
_locks: dict[str, threading.Lock] = {}  # by path: a long copy of one store keeps no other waiting


def recovered(opening: Opening) -> Opening:
    """Return an opening of a recovered copy, good while the original does not change."""
    with _locks.setdefault(opening.path, threading.Lock()):
        current = Fingerprint.of(opening.path)
        copied, copy = _copies.get(opening.path, (None, ""))
        if copied != current or not os.path.exists(copy):  # the temporary folder may have been tidied
            _remove(opening.path)
            copy = _copy(opening.path, current)
            _copies[opening.path] = current, copy
    return replace(opening, fingerprint=current, copy=copy)


def forget(path: str) -> None:
    """Remove the copy of the file at this path, and what it holds of what was deleted since."""
    with _locks.setdefault(path, threading.Lock()):
        _remove(path)


def _copy(path: str, fingerprint: Fingerprint) -> str:
    name = shown(os.path.basename(path))
    try:
        folder = tempfile.mkdtemp(prefix="checkpoint-store-")
    except OSError as error:
        raise NoRoomForCopy(f"{name} must be copied to be read: {error.strerror}.") from None
    try:
        return _recover(path, fingerprint, os.path.join(folder, "store.sqlite"))
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise StoreUnreadable(f"{name} cannot be copied to be read: {error.strerror}.") from None
        raise


def _recover(path: str, fingerprint: Fingerprint, copy: str) -> str:
    for suffix in ("", "-wal", "-journal"):
        if os.path.exists(path + suffix):
            _copy_file(path + suffix, copy + suffix)
    if Fingerprint.of(path) != fingerprint:
        raise StoreBusy(f"{shown(os.path.basename(path))} was written while it was copied.")
    with closing(sqlite3.connect(sqlite_uri(copy, "mode=rw"), uri=True)) as conn:
        conn.execute("PRAGMA trusted_schema=OFF")
        conn.execute("PRAGMA journal_mode=DELETE")
    return copy


def _copy_file(source: str, target: str) -> None:
    held = hold(source)
    if shutil.disk_usage(os.path.dirname(target)).free < os.stat(source).st_size + SPARE:
        raise NoRoomForCopy(
            f"{shown(os.path.basename(source))} must be copied to be read, but the disk is full."
        )
    with open(target, "wb") as file:
        offset = 0
        while chunk := held.read(CHUNK, offset):
            offset += file.write(chunk)


def _remove(path: str) -> None:
    if path in _copies:
        _, copy = _copies.pop(path)
        shutil.rmtree(os.path.dirname(copy), ignore_errors=True)


@atexit.register
def _remove_all() -> None:
    for path in list(_copies):
        _remove(path)
