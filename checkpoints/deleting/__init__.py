"""Deletes threads completely, in short transactions that keep no agent waiting."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from checkpoints.deleting.erasure import Erasure, erase
from checkpoints.deleting.forecast import Forecast, forecast
from checkpoints.deleting.pruner import Pruned, Pruner
from checkpoints.deleting.threads import Deleter, Removed

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    if location.kind == "sqlite":
        from checkpoints.stores.sqlite.deleting import opened as opened_sqlite

        with opened_sqlite(location) as tables:
            yield Deleter(tables)
        return
    from checkpoints.stores.postgres.deleting import opened as opened_postgres  # it needs psycopg

    with opened_postgres(location) as found:
        yield Deleter(found)


@contextmanager
def pruning(location: Location) -> Iterator[Pruner]:
    """Open a store to delete from it what the newest checkpoints do not need. Raises what `deleting` does."""
    if location.kind == "sqlite":
        from checkpoints.stores.sqlite.pruning import opened as opened_sqlite

        with opened_sqlite(location) as tables:
            yield Pruner(tables)
        return
    from checkpoints.stores.postgres.pruning import opened as opened_postgres  # it needs psycopg

    with opened_postgres(location) as found:
        yield Pruner(found)
