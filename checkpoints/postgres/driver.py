"""Drivers: they run one operation on a psycopg connection, waiting for each statement or awaiting it.

They commit nothing that the connection does not: with `autocommit` each statement is a transaction.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import tuple_row

from checkpoints.statements import drive

if TYPE_CHECKING:
    from checkpoints.statements import Operation, Row, Statement, T

NOTHING: nullcontext[None] = nullcontext()


def run(conn: psycopg.Connection[Any], operation: Operation[T]) -> T:
    """Run the operation and return its result."""
    with conn.cursor(binary=True, row_factory=tuple_row) as cursor:
        return drive(operation, partial(_execute, cursor), psycopg.Error)


async def arun(conn: psycopg.AsyncConnection[Any], operation: Operation[T]) -> T:
    """Run the operation and return its result."""
    async with conn.cursor(binary=True, row_factory=tuple_row) as cursor:
        try:
            statement = next(operation)
            while True:
                try:
                    rows = await _aexecute(cursor, statement)
                except psycopg.Error as error:
                    statement = operation.throw(error)
                else:
                    statement = operation.send(rows)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            operation.close()


def _execute(cursor: psycopg.Cursor[Row], statement: Statement) -> list[Row]:
    connection = cursor.connection
    with connection.pipeline() if connection.info.pipeline_status else NOTHING:  # until the rows are there
        cursor.execute(statement.sql, statement.parameters, prepare=False if statement.once else None)
    return cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []


async def _aexecute(cursor: psycopg.AsyncCursor[Row], statement: Statement) -> list[Row]:
    connection = cursor.connection
    async with connection.pipeline() if connection.info.pipeline_status else NOTHING:
        await cursor.execute(statement.sql, statement.parameters, prepare=False if statement.once else None)
    return await cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []
