"""What a selection has to find, told in the slow way: from all rows of a store, one after another.

A place is the path of a SQLite file or the URL of a PostgreSQL database.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from stores_data import is_url

from checkpoints.snapshot import id_time

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.selection import Criteria, Held

FILE = {
    "checkpoints": """
        SELECT thread_id, checkpoint_ns, checkpoint_id,
               ifnull(length(CAST(checkpoint AS BLOB)), 0) + ifnull(length(CAST(metadata AS BLOB)), 0),
               CAST(metadata AS TEXT) FROM checkpoints""",
    "writes": """
        SELECT thread_id, checkpoint_ns, checkpoint_id, ifnull(length(CAST(value AS BLOB)), 0), '{}'
        FROM writes""",
}
DATABASE = {
    "checkpoints": """
        SELECT thread_id, checkpoint_ns, checkpoint_id,
               pg_column_size(checkpoint) + pg_column_size(metadata), metadata::text FROM checkpoints""",
    "writes": """
        SELECT thread_id, checkpoint_ns, checkpoint_id, octet_length(blob), '{}' FROM checkpoint_writes""",
    "blobs": """
        SELECT thread_id, checkpoint_ns, '', coalesce(octet_length(blob), 0), '{}' FROM checkpoint_blobs""",
}


class Told(NamedTuple):
    """One row of any table."""

    table: str
    thread_id: str
    ns: str
    id: str
    size: int
    metadata: dict[str, Any]


class Numbers(NamedTuple):
    """What `Held` says, but for its mark."""

    rows: tuple[int, int, int]
    bytes: tuple[int, int, int]
    namespaces: int
    newest: str

    @classmethod
    def of(cls, held: Held) -> Numbers:
        return cls(
            (held.checkpoints, held.writes, held.blobs),
            (held.checkpoint_bytes, held.write_bytes, held.blob_bytes),
            held.namespaces,
            held.newest,
        )


def rows(place: Path | str) -> dict[str, list[Told]]:
    """Read every row of a store, by thread."""
    found: dict[str, list[Told]] = defaultdict(list)
    for table, sql in (DATABASE if is_url(place) else FILE).items():
        for thread_id, ns, id, size, metadata in _fetched(place, sql):
            found[thread_id].append(Told(table, thread_id, ns, id, size, json.loads(metadata)))
    return dict(found)


def _fetched(place: Path | str, sql: str) -> list[Any]:
    if is_url(place):
        with psycopg.connect(str(place)) as conn:
            return conn.execute(sql.encode()).fetchall()
    with closing(sqlite3.connect(place)) as file:
        return file.execute(sql).fetchall()


def numbers(told: list[Told]) -> Numbers:
    """Count one thread."""
    tables = [[row for row in told if row.table == name] for name in ("checkpoints", "writes", "blobs")]
    return Numbers(
        tuple(len(table) for table in tables),  # type: ignore[arg-type]
        tuple(sum(row.size for row in table) for table in tables),  # type: ignore[arg-type]
        len({row.ns for row in told}),
        newest(told),
    )


def newest(told: list[Told]) -> str:
    """Return the greatest checkpoint id, of the writes where there is no checkpoint."""
    checkpoints = [row.id for row in told if row.table == "checkpoints"]
    return max(checkpoints or [row.id for row in told])


def expected(place: Path | str, criteria: Criteria) -> dict[str, Numbers]:
    """Return the threads of which the criteria hold, but for their status."""
    return {id: numbers(told) for id, told in rows(place).items() if _holds(id, told, criteria)}


def _holds(thread_id: str, told: list[Told], criteria: Criteria) -> bool:
    if criteria.thread_ids and thread_id not in criteria.thread_ids:
        return False
    if not all(any(_has(row.metadata, *pair) for row in told) for pair in criteria.metadata):
        return False
    if criteria.idle_since is not None:
        activity = id_time(newest(told))
        if activity is None or activity > criteria.idle_since:
            return False
    return thread_id.startswith(criteria.prefix)


def _has(metadata: dict[str, Any], key: str, value: str) -> bool:
    found = metadata.get(key)
    return key in metadata and (found if isinstance(found, str) else json.dumps(found)) == value
