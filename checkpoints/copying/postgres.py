"""PostgreSQL databases as the source and as the target of a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from checkpoints.copying.pages import Dialect, page, total
from checkpoints.copying.spool import content
from checkpoints.copying.sqlite import taken
from checkpoints.errors import (
    CopyRefused,
    NoCheckpointTables,
    ThreadNotFound,
)
from checkpoints.postgres import PostgresSaver
from checkpoints.postgres.driver import run
from checkpoints.postgres.operations import ANY_OF_THREAD, RESERVE
from checkpoints.statements import Operation, Row, Statement
from checkpoints.stores.postgres.pool import reading_now
from checkpoints.stores.postgres.schema import Schema
from checkpoints.stores.postgres.writing import connected
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import psycopg

    from checkpoints.copying.progress import Meter
    from checkpoints.copying.spool import Spool
    from checkpoints.copying.tables import Kind, Table
    from checkpoints.stores.location import Location

APPLICATION = "checkpoint-explorer copy"
SIZES = {
    "checkpoint": "pg_column_size(checkpoint)",
    "metadata": "pg_column_size(metadata)",
    "blob": "octet_length(blob)",
}
TEXTS = {"checkpoint": "checkpoint::text", "metadata": "metadata::text"}
TYPES = {"idx": "int4", "checkpoint": "jsonb", "metadata": "jsonb", "blob": "bytea"}
# Reading waits for the spool only, but no longer than the page's statement; writing waits for another copy.
PATIENCE = """\
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL lock_timeout = '30s'"""
COPY = "COPY {table} (thread_id, {columns}) FROM STDIN (FORMAT BINARY)"
COUNT = "SELECT count(*) FROM {table} WHERE thread_id = %s"


class PostgresEnd:
    """A PostgreSQL database at one end of a copy."""

    kind: Kind = "postgres"

    def __init__(self, location: Location) -> None:
        self.location = location

    def require_none(self, thread_id: str) -> None:
        """Look, read-only, whether the thread may be written. Raises StoreError, as ThreadExists."""
        if "\0" in thread_id:
            raise CopyRefused("PostgreSQL has no thread ids with a NUL character.")
        with reading_now(self.location) as conn:
            try:
                schema = run(conn, Schema.look(self.location.name))
            except NoCheckpointTables:
                return  # they will be made, or what stands there refuses it
            if run(conn, schema.here(_any_row(thread_id))):
                raise taken(thread_id)

    def read(self, thread_id: str, spool: Spool, meter: Meter) -> None:
        """Read all rows of the thread, as they are in one moment. Raises StoreError, as ThreadNotFound."""
        with reading_now(self.location) as conn, meter.stop.interrupting(conn.cancel), spool.filling():
            schema = run(conn, Schema.look(self.location.name))
            dialect = Dialect("%s", SIZES, {**TEXTS, "task_path": schema.sql("{task_path}")})
            conn.execute(PATIENCE)
            _read(conn, schema, dialect, thread_id, spool, meter)

    def write(self, thread_id: str, spool: Spool, meter: Meter) -> None:
        """Write the thread in one transaction, after the saver's `setup`. Raises StoreError."""
        with (
            connected(self.location, APPLICATION) as conn,
            meter.stop.interrupting(conn.cancel),
        ):
            PostgresSaver(conn).setup()
            with conn.transaction():
                conn.execute(PATIENCE)
                _insert(conn, thread_id, spool, meter)
                meter.stop.check()


def _read(
    conn: psycopg.Connection[Any],
    schema: Schema,
    dialect: Dialect,
    thread_id: str,
    spool: Spool,
    meter: Meter,
) -> None:
    if "\0" in thread_id or not run(conn, schema.here(_any_row(thread_id))):
        raise ThreadNotFound(f"There is no thread {thread_id!r} to copy.")
    sizes = [run(conn, schema.here(total(dialect, table, thread_id))) for table in spool.tables]
    meter.begin("read", Size(sum(size.rows for size in sizes), sum(size.bytes for size in sizes)))
    for table in spool.tables:
        after = None
        while rows := run(conn, schema.here(page(dialect, table, thread_id, after))):
            spool.add(table, rows)
            meter.advance(len(rows), sum(content(table, row) for row in rows))
            after = rows[-1][: len(table.key)]


def _insert(conn: psycopg.Connection[Any], thread_id: str, spool: Spool, meter: Meter) -> None:
    run(conn, _select(RESERVE, (thread_id,)))
    if run(conn, _any_row(thread_id)):
        raise taken(thread_id)
    for table in spool.tables:
        rows = ((thread_id, *row) for row in spool.rows(table))
        insert(conn, table, rows, meter.advance)
        # What an agent has begun there meanwhile would become one thread with this.
        [(found,)] = run(conn, _select(COUNT.format(table=table.name), (thread_id,)))
        if found != spool.size(table).rows:
            raise taken(thread_id)


def insert(
    conn: psycopg.Connection[Any],
    table: Table,
    rows: Iterable[Row],
    advance: Callable[[int, int], None],
) -> None:
    """Insert rows, each after its thread's id; tell the number and content of those that are done."""
    columns = ", ".join(table.columns)
    jsonb = [place for place, column in enumerate(table.columns) if TYPES.get(column) == "jsonb"]
    with conn.cursor() as cursor, cursor.copy(COPY.format(table=table.name, columns=columns)) as copy:
        copy.set_types(["text", *(TYPES.get(column, "text") for column in table.columns)])
        for row in rows:
            values = list(row)
            for place in jsonb:
                values[place + 1] = Jsonb(row[place + 1], dumps=_as_it_is)
            copy.write_row(values)
            advance(1, content(table, row[1:]))


def _as_it_is(text: str) -> str:
    return text


def _any_row(thread_id: str) -> Operation[list[Row]]:
    return _select(ANY_OF_THREAD, {"thread_id": thread_id})


def _select(sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Operation[list[Row]]:
    return (yield Statement(sql, parameters))
