"""Group commit: writes that wait for the same connection share one transaction, and so one fsync."""

from __future__ import annotations

import copy
import sqlite3
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Self

from checkpoints.sqlite.driver import Operation, T, commit, run, savepoint, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The file's write lock is held no longer than this and one operation: other processes wait for it.
LONGEST = 0.02
# What SQLite and its binding raise for one operation's data. Anything else is nobody's data: all are undone.
REFUSED = (sqlite3.Error, sqlite3.Warning, OverflowError, TypeError, ValueError)


class Call(Generic[T]):
    """A write that waits for its commit. Leaving its block before that withdraws it."""

    def __init__(self, operation: Callable[[], Operation[T]]) -> None:
        self.operation = operation  # to be begun anew when a shared transaction comes to nothing
        self.done = False
        self.withdrawn = False
        self._result: T
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.withdrawn = not self.done

    def succeed(self, result: T) -> None:
        self._result, self.done = result, True

    def fail(self, error: Exception) -> None:
        self._error, self.done = error, True

    def result(self) -> T:
        """Return what the operation returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._result


class Commits:
    """The writes that wait for one connection.

    Everybody joins, then takes the saver's lock; whoever gets it commits for all that wait, and the others
    find theirs done. A call is done when its transaction is on disk. One that fails fails alone.
    """

    def __init__(self) -> None:
        self._waiting: deque[Call[Any]] = deque()

    def join(self, operation: Callable[[], Operation[T]]) -> Call[T]:
        """Add a write; leave the returned block only after it is done."""
        call = Call(operation)
        self._waiting.append(call)
        return call

    def commit(self, conn: sqlite3.Connection) -> None:
        """Commit what waits now, or as much as fits into one short transaction. Run it on conn's thread."""
        calls = [self._waiting.popleft() for _ in range(len(self._waiting))]
        calls = [call for call in calls if not call.withdrawn]
        try:
            _commit(conn, calls)
        finally:
            self._waiting.extendleft(call for call in reversed(calls) if not call.done)


def _commit(conn: sqlite3.Connection, calls: Sequence[Call[Any]]) -> None:
    if len(calls) == 1:
        _commit_alone(conn, calls[0])
    elif calls:
        _commit_together(conn, calls)


def _commit_alone(conn: sqlite3.Connection, call: Call[Any]) -> None:
    try:
        result = commit(conn, call.operation())
    except REFUSED as error:
        call.fail(error)
    else:
        call.succeed(result)


def _commit_together(conn: sqlite3.Connection, calls: Sequence[Call[Any]]) -> None:
    outcomes: list[tuple[Call[Any], Any, Exception | None]] = []
    deadline = time.monotonic() + LONGEST
    try:
        with transaction(conn):
            for call in calls:
                outcomes.append((call, *_attempt(conn, call)))
                if time.monotonic() > deadline:
                    break
    except sqlite3.Error as error:
        _share_failure(conn, calls, error)
    else:
        for call, result, refused in outcomes:
            if refused is None:
                call.succeed(result)
            else:
                call.fail(refused)


def _attempt(conn: sqlite3.Connection, call: Call[Any]) -> tuple[Any, Exception | None]:
    try:
        with savepoint(conn, "one"):
            return run(conn, call.operation()), None
    except REFUSED as error:
        if not conn.in_transaction:  # SQLite undid everything: the disk is full, or a trigger said so
            raise
        return None, error


def _share_failure(conn: sqlite3.Connection, calls: Sequence[Call[Any]], error: sqlite3.Error) -> None:
    code = getattr(error, "sqlite_errorcode", 0)  # the module's own errors have none
    if code & 0xFF == sqlite3.SQLITE_BUSY:  # each has waited for the file's lock, all at once
        for call in calls:
            call.fail(copy.copy(error))
    else:
        for call in calls:
            _commit_alone(conn, call)
