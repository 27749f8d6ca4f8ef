"""A PostgreSQL database that is written: only when asked, in one transaction, its tables as they are."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors

from checkpoints.errors import CopyRefused, NoRoomForCopy, NotWritable, StoreBusy, ThreadExists
from checkpoints.postgres.driver import run
from checkpoints.postgres.transactions import ATTEMPTS, COLLISIONS, pause
from checkpoints.statements import Statement
from checkpoints.stores.postgres.failures import named
from checkpoints.stores.postgres.failures import refusal as unreachable
from checkpoints.stores.postgres.schema import COLUMNS, SEALED, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checkpoints.statements import Operation, T
    from checkpoints.stores.location import Location

_NO_ROOM = "Free some, then try again. Nothing was written."
WAIT = 5  # seconds for the lock of another writer
SECONDS = 60  # that one statement may take

# Each statement sees what others have committed by then, as those have whom it waited for.
BEGIN = f"""
SET LOCAL statement_timeout = '{SECONDS}s';
SET LOCAL lock_timeout = '{WAIT}s';
SET LOCAL jit = off;
SET LOCAL row_security = off
"""
SEAL = f"SET LOCAL search_path = {SEALED}"
SESSION: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,
    "client_encoding": "utf8",
    "connect_timeout": 10,
}
_PERMISSION = """
SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on',
       coalesce((SELECT bool_and(has_table_privilege(to_regclass(name), 'INSERT'))
                 FROM unnest(%s::text[]) AS name), false)
"""


class PostgresWriter:
    """A connection that writes."""

    def __init__(self, conn: psycopg.Connection[Any], schema: Schema) -> None:
        self.schema = schema
        self._conn = conn

    def run(self, operation: Operation[T]) -> T:
        """Run an operation that prepares one that writes: nothing is locked."""
        return self._run(operation)

    def transact(self, operation: Callable[[], Operation[T]]) -> T:
        """Run an operation in one transaction, begun anew when it collides with others."""
        for attempt in range(1, ATTEMPTS):
            try:
                return self._run(operation())
            except COLLISIONS:
                time.sleep(pause(attempt))
        return self._run(operation())

    def _run(self, operation: Operation[T]) -> T:
        with self._conn.transaction():
            self._conn.execute(BEGIN)
            self._conn.execute(SEAL)
            return run(self._conn, self.schema.here(operation))


@contextmanager
def writing(location: Location) -> Iterator[PostgresWriter]:
    """Connect to the database for writing. Raises StoreError: NotWritable, StoreBusy, those of reading."""
    with connected(location) as conn:
        with conn.transaction():
            conn.execute(BEGIN)
            schema = run(conn, Schema.look(location.name))
            reason = run(conn, refusal(schema, location.name))
        if reason:
            raise NotWritable(reason)
        yield PostgresWriter(conn, schema)


@contextmanager
def connected(location: Location, name: str = "checkpoint-explorer") -> Iterator[psycopg.Connection[Any]]:
    """Connect for writing, under a name for the server, and turn psycopg's errors into ours."""
    with named(location.name):
        try:
            conn = psycopg.connect(location.conninfo, fallback_application_name=name, **SESSION)
        except (psycopg.OperationalError, UnicodeError) as error:
            raise unreachable(error, location.name) from None
        with conn, written(location.name):
            yield conn


def refusal(schema: Schema, name: str) -> Operation[str | None]:
    """Say why the tables cannot be written, None where nothing is in the way."""
    tables = [schema.names[table] for table in COLUMNS]
    [(standby, read_only, granted)] = yield Statement(_PERMISSION, (tables,))
    if standby:
        return f"{name} is a standby, which only its primary writes to."
    if read_only:
        return f"Transactions in {name} are read-only."
    return None if granted else f"The role may only read {name}."


@contextmanager
def written(name: str) -> Iterator[None]:
    """Turn psycopg's errors of writing into ours."""
    try:
        yield
    except errors.UniqueViolation:
        raise ThreadExists("The thread came into being meanwhile.") from None
    except (errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege):
        raise NotWritable(f"The role may not write to {name}, or it is a standby.") from None
    except errors.LockNotAvailable:
        raise StoreBusy(f"Somebody else keeps a lock in {name}, or copies into this thread.") from None
    except errors.DiskFull:
        raise NoRoomForCopy(f"{name} has no room left on its disk.", advice=_NO_ROOM) from None
    except (psycopg.DataError, errors.ProgramLimitExceeded) as error:
        raise CopyRefused(f"{name} cannot hold a value of the thread ({type(error).__name__}).") from None
