"""PostgreSQL databases as what threads are exported from and imported into."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from checkpoints.bundling.progress import Put
from checkpoints.bundling.reading import Look
from checkpoints.bundling.threads import counted
from checkpoints.copying.pages import Dialect
from checkpoints.copying.postgres import PATIENCE, SIZES, TEXTS, insert
from checkpoints.copying.sqlite import taken
from checkpoints.copying.tables import TABLES, Kind
from checkpoints.errors import CopyRefused
from checkpoints.postgres import PostgresSaver
from checkpoints.postgres.driver import run
from checkpoints.postgres.operations import RESERVE
from checkpoints.statements import Statement
from checkpoints.stores.postgres.pool import reading_now
from checkpoints.stores.postgres.schema import Schema
from checkpoints.stores.postgres.writing import connected, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from checkpoints.bundling.threads import Threads
    from checkpoints.copying.progress import Stop
    from checkpoints.copying.tables import Table
    from checkpoints.statements import Operation, Row, T
    from checkpoints.stores.location import Location
    from checkpoints.stores.records import Size

APPLICATION = "checkpoint-explorer import"
# Statistics of a table that has grown since make PostgreSQL read all of it for the rows of a hundred threads.
BY_KEY = """\
SET LOCAL enable_seqscan = off;
SET LOCAL max_parallel_workers_per_gather = 0"""
COUNTS = "SELECT thread_id, count(*) FROM {table} WHERE thread_id = ANY(%s) GROUP BY thread_id"


class PostgresSource:
    """A database that threads are exported from."""

    kind: Kind = "postgres"

    def __init__(self, location: Location) -> None:
        self.name = location.name
        self._location = location

    @contextmanager
    def look(self, stop: Stop) -> Iterator[Look]:
        """Begin a read-only transaction, which sees one state. Raises StoreError."""
        with reading_now(self._location) as conn, stop.interrupting(conn.cancel):
            schema = run(conn, Schema.look(self.name))
            dialect = Dialect("%s", SIZES, {**TEXTS, "task_path": schema.sql("{task_path}")})
            conn.execute(f"{PATIENCE};{BY_KEY}")

            def here(operation: Operation[T]) -> T:
                return run(conn, schema.here(operation))

            yield Look(TABLES["postgres"], dialect, here)


class PostgresTarget:
    """A database that gets threads, after the saver's `setup`."""

    kind: Kind = "postgres"

    def __init__(self, conn: psycopg.Connection[Any], name: str, stop: Stop) -> None:
        self._conn = conn
        self._name = name
        self._stop = stop

    def put(self, held: Threads, thread_ids: Sequence[str]) -> Put:
        """Write those of the threads that are not there, in one transaction.

        Raises ThreadExists for one that an agent begins meanwhile, and CopyRefused.
        """
        sizes: dict[str, Size] = {}
        if any("\0" in thread_id for thread_id in thread_ids):
            raise CopyRefused("PostgreSQL has no thread ids with a NUL character.")
        with written(self._name), self._conn.transaction():
            self._conn.execute(PATIENCE)
            for thread_id in sorted(
                thread_ids
            ):  # in one order, so that two imports do not wait for each other
                run(self._conn, _select(RESERVE, thread_id))
            there = {id for table in held.tables for id in self._counts(table, thread_ids)}
            wanted = [thread_id for thread_id in thread_ids if thread_id not in there]
            for table in held.tables:
                rows = counted(table, held.rows(table, wanted), sizes)
                insert(self._conn, table, rows, lambda *_: self._stop.check())
                # What an agent has begun there meanwhile would become one thread with this.
                if sum(self._counts(table, wanted).values()) != sizes[table.name].rows:
                    raise taken(wanted[0])
            self._stop.check()
        return Put(sizes, tuple(thread_id for thread_id in thread_ids if thread_id in there))

    def _counts(self, table: Table, thread_ids: Sequence[str]) -> dict[str, int]:
        return dict(run(self._conn, _select(COUNTS.format(table=table.name), list(thread_ids))))


@contextmanager
def receiving(location: Location, stop: Stop) -> Iterator[PostgresTarget]:
    """Connect to a database to import into; its tables are made where they are missing. Raises StoreError."""
    with connected(location, APPLICATION) as conn, stop.interrupting(conn.cancel):
        PostgresSaver(conn).setup()
        yield PostgresTarget(conn, location.name, stop)


def _select(sql: str, parameter: Any) -> Operation[list[Row]]:
    return (yield Statement(sql, (parameter,)))
