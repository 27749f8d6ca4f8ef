"""Drivers: they run one operation on a sqlite3 connection, on this thread or on aiosqlite's.

Under aiosqlite the whole operation is one hop to the connection's thread; statement by statement it would be
one hop each, half of the time of a short read.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from checkpoints.statements import drive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import aiosqlite

    from checkpoints.statements import Operation, Row, Statement, T

P = ParamSpec("P")


def run(conn: sqlite3.Connection, operation: Operation[T]) -> T:
    """Run the operation on this thread and return its result. Commits nothing."""
    return drive(operation, partial(execute, conn), sqlite3.Error)


async def arun(conn: aiosqlite.Connection, operation: Operation[T]) -> T:
    """Run the operation on the connection's own thread, in one hop. Commits nothing."""
    return await on_thread(conn, run, operation)


async def on_thread(
    conn: aiosqlite.Connection,
    function: Callable[Concatenate[sqlite3.Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Call the function with the sqlite3 connection on the thread of the aiosqlite one, in this context."""
    # aiosqlite has no public way to do this; here is the one place that reaches inside. Before 0.22 the
    # connection is the thread itself. One that was never awaited is opened here, as the official saver does.
    if getattr(conn, "_thread", conn).ident is None:  # type: ignore[union-attr]
        await conn
    called = copy_context().run, function, conn._conn
    return await conn._execute(*called, *args, **kwargs)  # type: ignore[no-any-return, no-untyped-call]


@contextmanager
def transaction(conn: sqlite3.Connection) -> Iterator[None]:
    """Commit what happens inside, or roll it back when an error leaves the block.

    It takes the write lock at once: a transaction that reads first and then writes fails with BUSY, without
    waiting, when another connection wrote in between. A transaction that the connection's owner has open is
    joined and committed with ours, as by the official saver; an error undoes our part, theirs stays open.
    """
    if conn.in_transaction:
        conn.execute("SAVEPOINT checkpoints")
        try:
            yield
            _commit_owners(conn)
        except BaseException:
            if conn.in_transaction:  # SQLite itself rolls back when the disk is full
                conn.execute("ROLLBACK TO checkpoints")
                conn.execute("RELEASE checkpoints")
            raise
        return
    try:
        conn.execute("BEGIN IMMEDIATE")
        yield
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def _commit_owners(conn: sqlite3.Connection) -> None:
    if getattr(conn, "autocommit", None) is True:  # then, since Python 3.12, `commit` does nothing
        conn.execute("COMMIT")
    else:
        conn.commit()


def execute(conn: sqlite3.Connection, statement: Statement) -> list[Row]:
    """Execute one statement and return its rows as tuples, whatever the connection's owner has for rows."""
    cursor = conn.cursor()
    cursor.row_factory = None
    try:
        if statement.many is not None:
            cursor.executemany(statement.sql, statement.many)
            return []
        return cursor.execute(statement.sql, statement.parameters).fetchall()
    finally:
        cursor.close()  # in an error's traceback it would live on, and with it the file's lock
