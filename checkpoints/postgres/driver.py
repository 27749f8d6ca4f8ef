"""Drivers: they run one operation on a psycopg connection, waiting for each statement or awaiting it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import tuple_row

if TYPE_CHECKING:
    from checkpoints.statements import Operation, Row, T


def run(conn: psycopg.Connection[Any], operation: Operation[T]) -> T:
    """Run the operation and return its result. Commits nothing that the connection does not."""
    with conn.cursor(binary=True, row_factory=tuple_row) as cursor:
        try:
            statement = next(operation)
            while True:
                try:
                    cursor.execute(statement.sql, statement.parameters)
                    rows: list[Row] = cursor.fetchall() if cursor.description else []
                except psycopg.Error as error:
                    statement = operation.throw(error)
                else:
                    statement = operation.send(rows)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            operation.close()


async def arun(conn: psycopg.AsyncConnection[Any], operation: Operation[T]) -> T:
    """Run the operation and return its result. Commits nothing that the connection does not."""
    async with conn.cursor(binary=True, row_factory=tuple_row) as cursor:
        try:
            statement = next(operation)
            while True:
                try:
                    await cursor.execute(statement.sql, statement.parameters)
                    rows: list[Row] = await cursor.fetchall() if cursor.description else []
                except psycopg.Error as error:
                    statement = operation.throw(error)
                else:
                    statement = operation.send(rows)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            operation.close()
