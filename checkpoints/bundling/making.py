"""A bundle that is being made: in a file of another name, for its owner alone, until it is whole."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from checkpoints import __version__
from checkpoints.bundling.format import APPLICATION, FORMAT, HEADER, THREADS, Header
from checkpoints.bundling.progress import Bundled, added
from checkpoints.bundling.threads import Threads, writing
from checkpoints.copying.unfinished import publish, unfinished
from checkpoints.errors import FileInTheWay, NotWritable
from checkpoints.stores.location import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checkpoints.copying.progress import Stop
    from checkpoints.copying.tables import Kind
    from checkpoints.stores.records import Size

OWNER_ALONE = 0o600
# The file is of nobody's use before it is whole, and goes to the disk in one go then.
SETTINGS = ("PRAGMA journal_mode=DELETE", "PRAGMA synchronous=OFF", f"PRAGMA application_id={APPLICATION}")
ADD_THREAD = "INSERT INTO bundle_threads VALUES (?, ?, ?, ?)"
LISTED = "SELECT thread_id, rows, bytes, digest FROM bundle_threads ORDER BY thread_id"
ADD_HEADER = "INSERT INTO bundle VALUES (?, ?, ?, ?, ?, ?, ?)"


class Making:
    """The database of an unfinished bundle."""

    def __init__(self, conn: sqlite3.Connection, kind: Kind) -> None:
        self.held = Threads(conn, kind)
        self.threads = 0
        self.tables = added((), [table.name for table in self.held.tables])
        self._conn = conn
        with writing():
            for sql in (*SETTINGS, HEADER, THREADS):
                conn.execute(sql)
        self.held.create()

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Add threads in this block. When an error leaves it, they are gone again."""
        before = self.threads, self.tables
        with writing():
            self._conn.execute("BEGIN")
        try:
            yield
            with writing():
                self._conn.execute("COMMIT")
        except BaseException:
            self.threads, self.tables = before
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")
            raise

    def seal(self, thread_id: str) -> Size:
        """Close a thread, all of whose rows were added. Raises CopyRefused for one that was closed before."""
        held = self.held.sum(thread_id)
        with writing():
            self._conn.execute(ADD_THREAD, (thread_id, *held.size, held.digest))
        self.threads += 1
        self.tables = added((self.tables, held.tables), self.tables)
        return held.size

    def finish(self, store: str) -> None:
        """Say what the bundle is."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        header = Header(FORMAT, self.held.kind, store, now, f"checkpoint-explorer {__version__}", self.tables)
        digest = header.digest(self._conn.execute(LISTED))
        with writing():
            self._conn.execute(ADD_HEADER, (*header.stored, digest))


def make(path: str, kind: Kind, store: str, fill: Callable[[Making], None], stop: Stop) -> Bundled:
    """Make a bundle, whole in its place or not at all. Raises FileInTheWay, NotWritable, NoRoomForCopy."""
    path = os.path.abspath(os.path.expanduser(path))
    try:
        if os.path.lexists(path):
            raise FileExistsError
        with unfinished(path) as beside:
            bundle = _filled(beside, kind, store, fill, stop)
            size, digest = _settle(beside)
            publish(beside, path)
            _settle_folder(path)
    except FileExistsError:
        sentence = f"There is a file {shown(os.path.basename(path))} already."
        raise FileInTheWay(sentence) from None
    except OSError as error:
        name = shown(os.path.basename(path))
        raise NotWritable(f"{name} cannot be made: {error.strerror}.", advice="Name another place.") from None
    return Bundled(bundle.threads, bundle.tables, size, digest)


def _filled(path: str, kind: Kind, store: str, fill: Callable[[Making], None], stop: Stop) -> Making:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, OWNER_ALONE))
    with closing(sqlite3.connect(path, isolation_level=None)) as conn, stop.interrupting(conn.interrupt):
        bundle = Making(conn, kind)
        fill(bundle)
        bundle.finish(store)
    return bundle


def _settle(path: str) -> tuple[int, str]:
    """Bring a file to the disk; return its size in bytes and its digest."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _settle_folder(path: str) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
