"""Deletes threads completely, in short transactions that keep no agent waiting."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from checkpoints.deleting.erasure import Erasure, erase
from checkpoints.deleting.forecast import Forecast, forecast
from checkpoints.deleting.pruner import Pruned, Pruner
from checkpoints.deleting.threads import Deleter, Removed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from checkpoints.stores.location import Location

__all__ = [
    "Deleter",
    "Erasure",
    "Forecast",
    "Pruned",
    "Pruner",
    "Removed",
    "deleting",
    "erase",
    "forecast",
    "pruning",
]


@contextmanager
def deleting(location: Location) -> Iterator[Deleter]:
    """Open a store to delete threads from it. Raises a StoreError: NotWritable, StoreBusy.

    Nothing is created and nothing migrated, and nothing is locked but while a batch is deleted.
    """
    with _opened(location, "deleting") as tables:
        yield Deleter(tables)


@contextmanager
def pruning(location: Location) -> Iterator[Pruner]:
    """Open a store to delete from it what the newest checkpoints do not need. Raises what `deleting` does."""
    with _opened(location, "pruning") as tables:
        yield Pruner(tables)


def _opened(location: Location, what: str) -> AbstractContextManager[Any]:
    """Open the tables of a kind of store; those of PostgreSQL are imported when they are needed."""
    opened = import_module(f"checkpoints.stores.{location.kind}.{what}").opened
    tables: AbstractContextManager[Any] = opened(location)
    return tables
