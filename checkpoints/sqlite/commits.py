"""Group commit: writes that wait for the same connection share one transaction, and so one fsync."""

from __future__ import annotations

import copy
import sqlite3
import threading
import time
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, Self
from weakref import WeakValueDictionary

from checkpoints.sqlite.driver import Operation, T, run, savepoint, transaction
from checkpoints.sqlite.schema import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The file's write lock is held no longer than this and one operation: other processes wait for it.
LONGEST = 0.02


class Call(Generic[T]):
    """A write that waits for its commit. Leaving its block before that withdraws it."""

    def __init__(self, operation: Callable[[], Operation[T]]) -> None:
        self._operation = operation  # to be begun anew when a shared transaction comes to nothing
        self._context = copy_context()  # a serializer may look into it
        self.done = False
        self.withdrawn = False
        self._outcome: Attempt[T]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.withdrawn = not self.done

    @property
    def waits(self) -> bool:
        """Whether somebody still waits for it."""
        return not (self.done or self.withdrawn)

    def run(self, conn: sqlite3.Connection) -> T:
        """Run the operation in its caller's context, as part of a transaction."""
        return self._context.run(run, conn, self._operation())

    def end(self, outcome: Attempt[T]) -> None:
        """Give the caller what came of it."""
        self._outcome, self.done = outcome, True

    def result(self) -> T:
        """Return what the operation returned, or raise what it raised."""
        outcome = self._outcome
        if outcome.error is None:
            return outcome.result
        try:
            raise outcome.error
        finally:
            del self, outcome  # or the error's traceback keeps the error, and the rows with it


class Attempt(Generic[T]):
    """What an operation returned, or the error that left the block: the owner's, whatever it is."""

    result: T

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        self.error = error if isinstance(error, Exception) else None
        return self.error is not None

    @property
    def is_busy(self) -> bool:
        """Whether it failed because another connection kept the file locked."""
        code = getattr(self.error, "sqlite_errorcode", 0)  # the module's own errors have none
        return code & 0xFF == sqlite3.SQLITE_BUSY


class Undone(Exception):
    """SQLite has rolled back a shared transaction: the disk is full, or a trigger said so."""


REGISTRY = threading.Lock()


class Commits:
    """The writes that wait for one connection.

    Everybody joins, then takes the saver's lock; whoever gets it commits for all that wait, and the others
    find theirs done. A call is done when its transaction is on disk. One that fails fails alone.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._waiting: deque[Call[Any]] = deque()

    @classmethod
    def of(cls, conn: sqlite3.Connection) -> Commits:
        """Return those of the connection: savers that share it from several threads share its lock."""
        with REGISTRY:
            return SHARED.setdefault(id(conn), cls())

    def join(self, operation: Callable[[], Operation[T]]) -> Call[T]:
        """Add a write; leave the returned block only after it is done."""
        call = Call(operation)
        self._waiting.append(call)
        return call

    def commit(self, conn: sqlite3.Connection, *, prepared: bool) -> bool:
        """Commit what waits now, or as much as fits into one short transaction. Run it on conn's thread.

        Return whether the file is prepared for writing, which is done first.
        """
        # They stay in the queue until they are done: an interrupt here must not lose those of other threads.
        calls = [call for call in self._waiting.copy() if call.waits]
        preparing: Attempt[None] = Attempt()
        if calls and not prepared:
            with preparing:
                prepare(conn)
                prepared = True
        if preparing.error:
            _fail(calls, preparing.error)
        else:
            _commit(conn, calls)
        while self._waiting and not self._waiting[0].waits:
            self._waiting.popleft()
        return prepared


def _commit(conn: sqlite3.Connection, calls: Sequence[Call[Any]]) -> None:
    if len(calls) > 1:
        shared, outcomes = _attempt_together(conn, calls)
        if shared.is_busy:  # each has waited for the file's lock, all at once
            _fail(calls, shared.error)
            return
        for call, outcome in zip(calls, outcomes, strict=False):
            call.end(outcome)
        if not shared.error:
            return
    _commit_each(conn, calls)


def _attempt_together(
    conn: sqlite3.Connection, calls: Sequence[Call[Any]]
) -> tuple[Attempt[None], list[Attempt[Any]]]:
    """Return what came of the transaction, and of the calls in it: those that did not fit are left out."""
    outcomes: list[Attempt[Any]] = []
    deadline = time.monotonic() + LONGEST
    with Attempt[None]() as shared, transaction(conn):
        for call in calls:
            outcomes.append(_attempt(conn, call))
            if time.monotonic() > deadline:
                break
    return shared, [] if shared.error else outcomes


def _attempt(conn: sqlite3.Connection, call: Call[T]) -> Attempt[T]:
    with Attempt[T]() as outcome, savepoint(conn, "one"):
        outcome.result = call.run(conn)
    if not conn.in_transaction:
        raise Undone
    return outcome


def _commit_each(conn: sqlite3.Connection, calls: Sequence[Call[Any]]) -> None:
    for number, call in enumerate(calls):
        with Attempt[Any]() as outcome, transaction(conn):
            outcome.result = call.run(conn)
        call.end(outcome)
        if outcome.is_busy:
            _fail(calls[number + 1 :], outcome.error)
            return


def _fail(calls: Sequence[Call[Any]], error: Exception | None) -> None:
    for call in calls:
        call.end(Attempt(copy.copy(error)))  # each its own: raising it adds a traceback


# By the connection's id, since it takes no weak reference. Its savers keep both.
SHARED: WeakValueDictionary[int, Commits] = WeakValueDictionary()
