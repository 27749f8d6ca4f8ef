"""A bundle that is read: nothing of it is believed before it was added up again."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from checkpoints.bundling.format import FORMAT, HEADER, ROWS, THREADS, Header, named
from checkpoints.bundling.making import LISTED
from checkpoints.bundling.progress import Description
from checkpoints.bundling.threads import Threads
from checkpoints.errors import BundleRefused, NotADatabase, StoreDamaged, ThreadNotFound
from checkpoints.stores.records import Size
from checkpoints.stores.sqlite.connection import guarded
from checkpoints.stores.sqlite.connection import named as naming
from checkpoints.stores.sqlite.opening import Fingerprint

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from checkpoints.bundling.progress import Tally
    from checkpoints.copying.progress import Stop
    from checkpoints.copying.tables import Table
    from checkpoints.statements import Row
    from checkpoints.stores.location import Location

OBJECTS = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
LAST_FORMAT = "SELECT max(format) FROM bundle"
STORED = "SELECT format, kind, store, made_at, made_by, tables, digest FROM bundle"
STRANGE = "SELECT 1 FROM {name} WHERE NOT ({known}) LIMIT 1"
NEWER = "Import it with the release that wrote it, or a later one. Nothing was imported."
NULLABLE = {
    "checkpoints": {"parent_checkpoint_id", "type"},
    "checkpoint_blobs": {"blob"},
    "checkpoint_writes": {"type"},
}
TYPED = {
    "blob": "typeof(blob) = 'blob'",
    "idx": "typeof(idx) = 'integer' AND idx BETWEEN -2147483648 AND 2147483647",
}


class Bundle:
    """The database of a bundle, whose tables are exactly those that we make."""

    def __init__(self, conn: sqlite3.Connection, name: str, size: int) -> None:
        self.name = name
        self._size = size
        self._conn = conn
        *stored, self._digest = self._stored()
        self.header = self._header(tuple(stored))
        self.held = Threads(conn, self.header.kind)

    @property
    def description(self) -> Description:
        """What it says of itself. Raises BundleRefused where that was changed."""
        with refusing(self.name):
            return Description(self.header, len(self._listed()), self._size)

    def check(self, thread_ids: Sequence[str] | None, tally: Tally) -> dict[str, Size]:
        """Add up these threads, or all, and return their sizes. Raises BundleRefused, ThreadNotFound."""
        with refusing(self.name):
            listed = self._listed()
            if thread_ids is not None:
                if missing := [thread_id for thread_id in thread_ids if thread_id not in listed]:
                    raise ThreadNotFound(
                        f"There is no thread {missing[0]!r} in {self.name}.", advice="Nothing was imported."
                    )
                listed = {thread_id: listed[thread_id] for thread_id in thread_ids}
            tally.begin("check", len(listed))
            self._add_up(listed, tally)
        return {thread_id: size for thread_id, (size, _) in listed.items()}

    def _add_up(self, listed: dict[str, tuple[Size, str]], tally: Tally) -> None:
        read = 0
        for thread_id, (size, digest) in listed.items():
            found = self.held.sum(thread_id)
            read += found.size.bytes
            # Pages that several rows share would make more content than the file has bytes.
            if (found.size, found.digest) != (size, digest) or read > self._size:
                raise _changed(self.name)
            tally.advance(1, size)

    def _listed(self) -> dict[str, tuple[Size, str]]:
        """Return the size and digest of each thread. Raises BundleRefused where they are not as written."""
        threads = self._conn.execute(LISTED).fetchall()
        if self.header.digest(threads) != self._digest:
            raise _changed(self.name)
        for table in self.held.tables:
            if self.held.count(table) != self.header.tables[table.name].rows or self._is_strange(table):
                raise _changed(self.name)
        if not all(isinstance(thread_id, str) for thread_id, *_ in threads):
            raise _changed(self.name)
        return {thread_id: (Size(rows, size), digest) for thread_id, rows, size, digest in threads}

    def _is_strange(self, table: Table) -> bool:
        """Tell whether PostgreSQL's table could not have such values. A file's may have any."""
        if self.header.kind == "sqlite":
            return False
        known = (_known(column, NULLABLE[table.name]) for column in ("thread_id", *table.columns))
        sql = STRANGE.format(name=named("postgres", table), known=" AND ".join(known))
        return bool(self._conn.execute(sql).fetchone())

    def _stored(self) -> Row:
        rows: list[Row] = self._conn.execute(STORED).fetchmany(2)
        if len(rows) != 1:
            raise _changed(self.name)
        return rows[0]

    def _header(self, stored: Row) -> Header:
        try:
            return Header.of(stored)
        except (ValueError, TypeError, RecursionError):
            raise _changed(self.name) from None


@contextmanager
def opened(location: Location, stop: Stop) -> Iterator[Bundle]:
    """Open a bundle, as it is in one moment. Raises BundleRefused, and StoreError where it cannot be read."""
    name = location.name
    with refusing(name):
        conn, opening, _ = guarded(location, _require_bundle)
    with closing(conn), stop.interrupting(conn.interrupt):
        conn.set_progress_handler(None, 0)  # a large one takes its time
        conn.text_factory = str
        with refusing(name):
            bundle = Bundle(conn, name, Fingerprint.of(opening.path).bytes)
        yield bundle


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Call a file that cannot be read a bundle that was changed."""
    try:
        with naming(name):
            yield
    except (StoreDamaged, NotADatabase):
        raise BundleRefused(f"{name} is no bundle, or only a part of one.") from None


def _require_bundle(conn: sqlite3.Connection, name: str) -> None:
    """Refuse a file with anything but a bundle's own tables, as views, triggers and other columns."""
    if not conn.in_transaction:
        conn.execute("BEGIN")
    found = {tuple(row) for row in conn.execute(OBJECTS)}
    if ("table", "bundle", HEADER) not in found:  # it is the same in every format
        raise BundleRefused(f"{name} is no bundle.")
    [(last,)] = conn.execute(LAST_FORMAT).fetchall()
    if isinstance(last, int) and last > FORMAT:
        raise BundleRefused(f"{name} was written by a newer release.", advice=NEWER)
    if not any(found == _objects(rows) for rows in ROWS.values()):
        raise BundleRefused(f"{name} has tables, views or triggers that no bundle has.")


def _objects(rows: Sequence[str]) -> set[tuple[str, ...]]:
    return {("table", sql.split()[2], sql) for sql in (HEADER, THREADS, *rows)}


def _known(column: str, nullable: set[str]) -> str:
    typed = TYPED.get(column, f"typeof({column}) = 'text'")
    return f"({column} IS NULL OR {typed})" if column in nullable else f"({typed})"


def _changed(name: str) -> BundleRefused:
    return BundleRefused(f"{name} is not as it was written: its digest is another.")
