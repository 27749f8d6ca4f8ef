"""Asking the app's database from the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.db import DatabaseError, DataError, IntegrityError, connection

from checkpoints.errors import StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

# Not those that decode large states: while this database is locked, all of these may wait for it.
_threads = ThreadPoolExecutor(8, thread_name_prefix="database")
P = ParamSpec("P")
T = TypeVar("T")


class DatabaseUnavailable(StoreUnreachable):
    """The app's own database does not answer, or could not be made."""

    advice = "Reading stores works without it. The terminal says more, or DATABASE_URL may name another."


async def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run on a thread what asks the app's database, and close its connection. Raises DatabaseUnavailable."""

    def run() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connection.close()

    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, run)
    except (IntegrityError, DataError):  # a mistake of our own
        raise
    except (DatabaseError, OSError) as error:
        raise DatabaseUnavailable("The explorer's own database cannot be used.") from error
