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

from checkpoints.sqlite.driver import run, transaction
from checkpoints.sqlite.schema import prepare
from checkpoints.statements import Operation, T

if TYPE_CHECKING:
    from collections.abc import Callable

# The file's write lock is held no longer than this and one operation: other processes wait for it.
LONGEST = 0.02

# By the id of the connection, which takes no weak reference. Its savers keep them.
SHARED: WeakValueDictionary[int, Commits] = WeakValueDictionary()
SHARING = threading.Lock()


class Call(Generic[T]):
    """A write that waits for its commit. Leaving its block before that withdraws it."""

    def __init__(self, operation: Callable[[], Operation[T]], connection: object) -> None:
        self.connection = connection  # the owner may give a saver another one
        self._operation = operation  # to be begun anew when a transaction comes to nothing
        self._context = copy_context()  # a serializer may look into it
        self._result: T
        self._error: Exception | None = None
        self.done = False
        self.withdrawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.withdrawn = not self.done

    @property
    def waits(self) -> bool:
        """Whether somebody still waits for it."""
        return not (self.done or self.withdrawn)

    def run(self, conn: sqlite3.Connection) -> None:
        """Run the operation in its caller's context, as part of a transaction."""
        self._result = self._context.run(run, conn, self._operation())

    def fail(self, error: Exception) -> None:
        """Give the caller an error in place of the result."""
        self._error, self.done = error, True

    def result(self) -> T:
        """Return what the operation returned, or raise what it raised."""
        if self._error is None:
            return self._result
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # or its traceback keeps it, and the rows with it, until they are looked for


class Attempt:
    """Keeps the error that left the block, for the one whose error it is, and the call that was at work."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.at: Call[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        self.error = error if isinstance(error, Exception) else None
        return self.error is not None

    def take(self) -> Exception:
        """Hand the error over: who keeps it is kept by its traceback."""
        assert self.error
        error, self.error = self.error, None
        return error

    @property
    def is_busy(self) -> bool:
        """Whether it failed because another connection kept the file locked."""
        code = getattr(self.error, "sqlite_errorcode", 0)  # the module's own errors have none
        return code & 0xFF == sqlite3.SQLITE_BUSY


class Commits:
    """The writes that wait for one connection.

    Everybody joins, then takes the saver's lock; whoever gets it commits for all that wait, and the others
    find theirs done. A call is done when its transaction is on disk. One that fails fails alone; only what is
    no `Exception`, as an interrupt, goes to whoever commits.
    """

    def __init__(self, connection: object) -> None:
        self.lock = threading.Lock()
        self._connection = connection  # kept, so that no other gets its id
        self._waiting: deque[Call[Any]] = deque()

    @classmethod
    def of(cls, conn: sqlite3.Connection) -> Commits:
        """Return those of the connection: savers that share it from several threads share its lock."""
        with SHARING:
            return SHARED.setdefault(id(conn), cls(conn))

    def join(self, operation: Callable[[], Operation[T]], connection: object) -> Call[T]:
        """Add a write; leave the returned block only after it is done."""
        call = Call(operation, connection)
        self._waiting.append(call)
        return call

    def commit(self, conn: sqlite3.Connection, connection: object, *, prepared: bool) -> bool:
        """Commit what waits for the connection now, or as much as fits into one short transaction.

        Run it on the thread of `conn`, which may be wrapped in `connection`. Return whether the file is
        prepared for writing, which is done first.
        """
        # They stay in the queue until they are done: an interrupt here must not lose those of other threads.
        calls = [call for call in self._waiting.copy() if call.waits and call.connection is connection]
        preparing = Attempt()
        if calls and not prepared:
            with preparing:
                prepare(conn)
                prepared = True
        if preparing.error:
            _fail(calls, preparing.take())
        else:
            _commit(conn, calls)
        while self._waiting and not self._waiting[0].waits:
            self._waiting.popleft()
        return prepared


def _commit(conn: sqlite3.Connection, calls: list[Call[Any]]) -> None:
    """Commit the calls together. For each that fails they are begun anew without it, which is rare."""
    while calls:
        attempt = _attempt(conn, calls)
        if not attempt.error:
            return
        if attempt.is_busy:  # they have waited for the file's lock, all at once
            _fail(calls, attempt.take())
            return
        if attempt.at is None and len(calls) > 1:  # COMMIT failed: because of one of them, or of all
            _commit_each(conn, calls)
            return
        failed = attempt.at or calls[0]
        failed.fail(attempt.take())
        calls = [call for call in calls if call is not failed]


def _attempt(conn: sqlite3.Connection, calls: list[Call[Any]]) -> Attempt:
    """Run the calls in one transaction: those that fit into its time, from the first on, are done."""
    deadline = time.monotonic() + LONGEST
    ran: list[Call[Any]] = []
    with Attempt() as attempt, transaction(conn):
        for call in calls:
            attempt.at = call
            call.run(conn)
            ran.append(call)
            if time.monotonic() > deadline:
                break
        attempt.at = None
    if not attempt.error:
        for call in ran:
            call.done = True
    return attempt


def _commit_each(conn: sqlite3.Connection, calls: list[Call[Any]]) -> None:
    for number, call in enumerate(calls):
        attempt = _attempt(conn, [call])
        if attempt.is_busy:
            _fail(calls[number:], attempt.take())
            return
        if attempt.error:
            call.fail(attempt.take())


def _fail(calls: list[Call[Any]], error: Exception) -> None:
    for call in calls:
        own = copy.copy(error)  # raising one adds to its traceback
        own.__cause__ = error
        call.fail(own)
