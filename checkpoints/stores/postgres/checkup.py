"""Reads a whole database, by key and a few rows at a time, to tell whether all of it can be read.

Each portion is a transaction of its own: one that lasts keeps the server from clearing away old rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from checkpoints.diagnosis import Diagnosis
from checkpoints.errors import StoreError
from checkpoints.examination import JSONB, Examination
from checkpoints.postgres.driver import run
from checkpoints.postgres.schema import LAST_MIGRATION
from checkpoints.statements import Operation, Statement
from checkpoints.stores.postgres import pool
from checkpoints.stores.postgres.listing import SKIP, hint
from checkpoints.stores.postgres.schema import MIGRATIONS, SEALED, Schema
from checkpoints.stores.postgres.store import asked, server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from checkpoints.inert import InertSerializer
    from checkpoints.statements import Row
    from checkpoints.stores.location import Location

PORTION: Final = 500  # rows
PORTION_BYTES: Final = 8 << 20
THREADS: Final = 50

_KEY: Final = {
    "checkpoints": ("thread_id", "checkpoint_ns", "checkpoint_id"),
    "checkpoint_blobs": ("thread_id", "checkpoint_ns", "channel", "version"),
    "checkpoint_writes": ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
}
_BLOB: Final = "type, coalesce(octet_length(blob), 0) AS size, blob AS value, NULL::text AS metadata"
_DOCUMENT: Final = f"""
'{JSONB}' AS type, octet_length(checkpoint::text) AS size, convert_to(checkpoint::text, 'UTF8') AS value,
CASE WHEN pg_column_size(metadata) <= %(most)s THEN metadata::text END AS metadata
"""
# The first row is always among them: a portion may be one row of any size.
_PORTION: Final = """
SELECT {key}, type, size, CASE WHEN size <= %(most)s THEN value END, metadata
FROM (SELECT *, sum(size) OVER (ORDER BY {key} ROWS UNBOUNDED PRECEDING) - size AS before
      FROM (SELECT {key}, {columns} FROM {table} {after} ORDER BY {key} LIMIT %(rows)s) portion) weighed
WHERE before < %(bytes)s ORDER BY {key}
"""
# Rows come in the order of the primary key, not sorted anew for each portion of a long thread.
_PATIENT: Final = f"""
SET LOCAL search_path = {SEALED};
SET LOCAL statement_timeout = 60000;
SET LOCAL enable_sort = off;
SET LOCAL enable_incremental_sort = off
"""
_MIGRATION: Final = "SELECT max(v) FROM checkpoint_migrations"
_THREADS: Final = SKIP.format(table="checkpoint_blobs", key="NULL")
_UNUSED: Final = """
WITH used AS MATERIALIZED (
    SELECT DISTINCT c.thread_id, c.checkpoint_ns, v.key, v.value
    FROM checkpoints c CROSS JOIN LATERAL jsonb_each_text(
        CASE WHEN jsonb_typeof(c.checkpoint -> 'channel_versions') = 'object'
             THEN c.checkpoint -> 'channel_versions' ELSE '{}' END
    ) v
    WHERE c.thread_id = ANY(%(threads)s::text[])
)
SELECT count(*), coalesce(sum(octet_length(blob)), 0)::int8 FROM checkpoint_blobs b
WHERE thread_id = ANY(%(threads)s::text[]) AND NOT EXISTS (
    SELECT FROM used u WHERE u.thread_id = b.thread_id AND u.checkpoint_ns = b.checkpoint_ns
                         AND u.key = b.channel AND u.value = b.version
)
"""


def diagnose(location: Location, serde: InertSerializer) -> Diagnosis:
    """Read a whole database. Raises StoreError where it cannot be opened."""
    with pool.reading_now(location) as conn:
        schema = run(conn, Schema.look(location.name))
        [(version, standby, size)] = run(conn, schema.here(server(schema)))
        migration = run(conn, schema.here(_migration(schema)))
    examinations = [_Streamed(name, serde, schema) for name in _KEY]
    ended = [problem for each in examinations if (problem := each.run(location))]
    checkpoints = examinations[0]
    return Diagnosis(
        name=location.name,
        era=_era(migration),
        bytes=size,
        threads=checkpoints.threads,
        namespaces=checkpoints.namespaces,
        tables=tuple(each.table() for each in examinations),
        problems=(*ended, *(problem for each in examinations for problem in each.problems())),
        server=version,
        standby=standby,
        notes=tuple(_notes(location, schema, migration)),
    )


class _Streamed(Examination):
    """A table of a database."""

    def __init__(self, name: str, serde: InertSerializer, schema: Schema) -> None:
        super().__init__(name, serde)
        self._schema = schema
        self.threads: int | None = 0
        self.namespaces: int | None = 0

    def run(self, location: Location) -> str | None:
        """Look at every row. Return the problem that ended the look early, if one did."""
        try:
            with pool.reading_now(location) as conn:
                self._stream(conn)
        except StoreError as error:
            self.threads = self.namespaces = None
            return f"Not all of {self.name} was read: {error.sentence}"
        return None

    def _stream(self, conn: psycopg.Connection[Any]) -> None:
        width = len(_KEY[self.name])
        last: Row = ()
        _anew(conn)
        threads = namespaces = 0
        while rows := run(conn, self._schema.here(asked(self._portion(last)))):
            for row in rows:
                threads += row[:1] != last[:1]
                namespaces += row[:2] != last[:2]
                last = row[:width]
                self.look(*row[width:])
            _anew(conn)
        self.threads, self.namespaces = threads, namespaces

    def _portion(self, last: Row) -> Statement:
        key = ", ".join(_KEY[self.name])
        after = f"WHERE ({key}) > ({', '.join(f'%(key{n})s' for n in range(len(last)))})" if last else ""
        columns = _DOCUMENT if self.name == "checkpoints" else _BLOB
        sql = _PORTION.format(key=key, columns=columns, table=self.name, after=after)
        bounds = {"most": self.serde.budget.bytes, "rows": PORTION, "bytes": PORTION_BYTES}
        return Statement(sql, {**bounds, **{f"key{n}": part for n, part in enumerate(last)}})


def _anew(conn: psycopg.Connection[Any]) -> None:
    conn.rollback()
    conn.execute(pool.BEGIN)
    conn.execute(_PATIENT)


def _migration(schema: Schema) -> Operation[int | None]:
    """Return the number of the last migration, None where it cannot be told."""
    if MIGRATIONS not in schema.names:
        return None
    [(last,)] = yield Statement(_MIGRATION)
    return None if last is None else int(last)


def _era(migration: int | None) -> str:
    told = "of an unknown migration" if migration is None else f"of migration {migration}"
    return f"langgraph-checkpoint-postgres, tables {told}"


def _notes(location: Location, schema: Schema, migration: int | None) -> Iterator[str]:
    if migration is not None and migration < LAST_MIGRATION:
        yield f"The tables are of migration {migration}: the saver's setup() brings them to {LAST_MIGRATION}."
    if faster := hint(schema):
        yield f"{faster.sentence} {faster.command}"
    try:
        unused, size = _unused(location, schema)
    except StoreError as error:
        yield f"Which rows of checkpoint_blobs belong to no checkpoint was not found out: {error.sentence}"
        return
    if unused:
        yield f"{unused:,} rows of checkpoint_blobs ({size:,} bytes) belong to no checkpoint."


def _unused(location: Location, schema: Schema) -> tuple[int, int]:
    """Count the values that no checkpoint refers to, and their bytes; a few threads at a time."""
    count = size = 0
    last: str | None = None
    with pool.reading_now(location) as conn:
        _anew(conn)
        while threads := run(conn, schema.here(_next_threads(last))):
            [(found, octets)] = run(conn, schema.here(asked(Statement(_UNUSED, {"threads": threads}))))
            count, size, last = count + found, size + octets, threads[-1]
            _anew(conn)
    return count, size


def _next_threads(last: str | None) -> Operation[list[str]]:
    rows = yield Statement(_THREADS, {"last": last, "rows": THREADS, "needle": ""})
    return [thread_id for thread_id, _ in rows]
