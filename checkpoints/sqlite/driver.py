"""Drivers: they run one operation on a sqlite3 connection, on this thread or on aiosqlite's.

An operation is a generator. It yields statements, receives their rows and returns its result, so it is
written once and runs under either driver. Under aiosqlite the whole operation is one hop to the
connection's thread; statement by statement it would be one hop each, half of the time of a short read.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    import sqlite3

    import aiosqlite

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]


class Statement(NamedTuple):
    """One SQL statement with its parameters; `many` holds a parameter set per execution instead."""

    sql: str
    parameters: Sequence[Any] = ()
    many: Sequence[Sequence[Any]] | None = None


Operation: TypeAlias = Generator[Statement, list[Row], T]


def run(conn: sqlite3.Connection, operation: Operation[T]) -> T:
    """Run the operation on this thread and return its result. Commits nothing."""
    try:
        statement = next(operation)
        while True:
            try:
                rows = _execute(conn, statement)
            except BaseException as error:
                statement = operation.throw(error)
            else:
                statement = operation.send(rows)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        operation.close()


async def arun(conn: aiosqlite.Connection, operation: Operation[T]) -> T:
    """Run the operation on the connection's own thread, in one hop."""
    # aiosqlite has no public way to run a function on its thread; this is the one place that uses it.
    return await conn._execute(run, conn._conn, operation)  # type: ignore[no-any-return, no-untyped-call]


def _execute(conn: sqlite3.Connection, statement: Statement) -> list[Row]:
    if statement.many is not None:
        conn.executemany(statement.sql, statement.many)
        return []
    return conn.execute(statement.sql, statement.parameters).fetchall()
