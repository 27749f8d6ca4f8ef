"""What a bundle is: a SQLite file with the rows of whole threads, and two tables that say what it holds.

Rows of a SQLite store stand in the savers' own tables, so the file is a store itself. Rows of PostgreSQL
stand as they are in tables of other names: the savers' tables of a file have no place for all that they say.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.copying.tables import TABLES, Kind, Table
from checkpoints.sqlite.schema import CREATE_CHECKPOINTS, CREATE_WRITES
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checkpoints.statements import Row

FORMAT = 1  # of all tables here: another column is another format
APPLICATION = 0x4C474342  # "LGCB", in the file's header

HEADER = """\
CREATE TABLE bundle (
    format INTEGER NOT NULL,
    kind TEXT NOT NULL,
    store TEXT NOT NULL,
    made_at TEXT NOT NULL,
    made_by TEXT NOT NULL,
    tables TEXT NOT NULL,
    digest TEXT NOT NULL
)"""
THREADS = """\
CREATE TABLE bundle_threads (
    thread_id TEXT NOT NULL PRIMARY KEY,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    digest TEXT NOT NULL
)"""
_POSTGRES = (
    """\
CREATE TABLE postgres_checkpoints (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    parent_checkpoint_id TEXT,
    type TEXT,
    checkpoint TEXT NOT NULL,
    metadata TEXT NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
)""",
    """\
CREATE TABLE postgres_checkpoint_blobs (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    channel TEXT NOT NULL,
    version TEXT NOT NULL,
    type TEXT NOT NULL,
    blob BLOB,
    PRIMARY KEY (thread_id, checkpoint_ns, channel, version)
)""",
    """\
CREATE TABLE postgres_checkpoint_writes (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    task_path TEXT NOT NULL,
    channel TEXT NOT NULL,
    type TEXT,
    blob BLOB NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
)""",
)
ROWS: Mapping[Kind, tuple[str, ...]] = {
    "sqlite": tuple(sql.replace("IF NOT EXISTS ", "") for sql in (CREATE_CHECKPOINTS, CREATE_WRITES)),
    "postgres": _POSTGRES,
}


def named(kind: Kind, table: Table) -> str:
    """Return the name that a table of this kind of store has in a bundle."""
    return f"postgres_{table.name}" if kind == "postgres" else table.name


@dataclass(frozen=True, slots=True)
class Header:
    """What a bundle says of itself: the name of its store, when it was made (UTC), by which release.

    `tables` has the rows and the bytes of content of all threads, by the names of the store's tables.
    """

    format: int
    kind: Kind
    store: str
    made_at: str
    made_by: str
    tables: Mapping[str, Size]

    @classmethod
    def of(cls, row: Row) -> Header:
        """Read a stored header. Raises ValueError for one that nobody writes."""
        format_, kind, store, made_at, made_by, tables = row
        if kind not in TABLES or not all(isinstance(text, str) for text in (store, made_at, made_by)):
            raise ValueError
        held = json.loads(tables)
        if not isinstance(held, dict) or [*held] != [table.name for table in TABLES[kind]]:
            raise ValueError
        return cls(format_, kind, store, made_at, made_by, {name: _size(pair) for name, pair in held.items()})

    @property
    def stored(self) -> Row:
        """The row of the header, but its digest."""
        return (self.format, self.kind, self.store, self.made_at, self.made_by, json.dumps(self.tables))

    def digest(self, threads: Iterable[Row]) -> str:
        """Return what ties a bundle together: the header, and each thread with its rows, bytes and digest."""
        found = hashlib.sha256(packed(self.stored))
        for thread in threads:
            found.update(packed(thread))
        return found.hexdigest()


def packed(row: Row) -> bytes:
    """Return a row as bytes that no other row has."""
    parts = []
    for value in row:
        match value:
            case None:
                parts.append(b"n")
            case bytes():
                parts += (b"b%d:" % len(value), value)
            case str():
                text = value.encode()
                parts += (b"s%d:" % len(text), text)
            case _:  # a number
                parts.append(f"i{value!r};".encode())
    return b"".join(parts)


def _size(pair: object) -> Size:
    match pair:
        case [int(rows), int(size)]:
            return Size(rows, size)
    raise ValueError
