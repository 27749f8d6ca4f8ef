"""Asking a question of a store, whatever kind it is."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from checkpoints.errors import DriverMissing
from checkpoints.stores.sqlite import store as sqlite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable
    from types import ModuleType

    from checkpoints.inert import InertSerializer
    from checkpoints.stores.location import Location
    from checkpoints.stores.store import Store

T = TypeVar("T")


async def read(
    location: Location,
    question: Callable[[Store], Awaitable[T]],
    *,
    serde: InertSerializer | None = None,
    seconds: float | None = None,
) -> T:
    """Open the store, ask it the question, close it. Raises a StoreError that says what is wrong.

    All answers to one question see one state of the store; the question may be asked again. `seconds` is for
    how long it may be read where that is not as long as a page may take.
    """
    answer: T = await _kind(location).read(location, question, serde=serde, seconds=seconds)
    return answer


async def read_since(
    location: Location,
    mark: Hashable,
    question: Callable[[Store], Awaitable[T]],
    *,
    serde: InertSerializer | None = None,
) -> tuple[Hashable, T] | None:
    """Ask the question unless nothing was written since the mark: then return None.

    Beside the answer stands the mark of what it saw, None where no mark can tell.
    """
    found: tuple[Hashable, T] | None = await _kind(location).read_since(location, mark, question, serde=serde)
    return found


def check(location: Location) -> None:
    """Raise the StoreError that says why this store cannot be read, if it cannot."""
    _kind(location).check(location)


async def close() -> None:
    """Close the connections that the running event loop keeps to servers. It may read again after that."""
    if _postgres.cache_info().currsize:
        await _postgres().close()


def _kind(location: Location) -> ModuleType:
    return _postgres() if location.kind == "postgres" else sqlite


@cache
def _postgres() -> ModuleType:
    try:
        return import_module("checkpoints.stores.postgres.store")
    except ImportError as error:
        if not (error.name or "psycopg").startswith("psycopg"):  # of ours: no fault of the installation
            raise
        raise DriverMissing("Reading PostgreSQL needs psycopg, which is not installed.") from error
