"""Stores: a database of checkpoints, opened for one question and read without a trace."""

from __future__ import annotations

from checkpoints.stores.location import Location
from checkpoints.stores.records import (
    CheckpointRow,
    NamespaceRow,
    Overview,
    Search,
    ThreadPage,
    ThreadRow,
    TimelinePage,
    WriteRow,
)
from checkpoints.stores.sqlite.store import SqliteStore, check, read
from checkpoints.stores.store import Store

__all__ = [
    "CheckpointRow",
    "Location",
    "NamespaceRow",
    "Overview",
    "Search",
    "SqliteStore",
    "Store",
    "ThreadPage",
    "ThreadRow",
    "TimelinePage",
    "WriteRow",
    "check",
    "read",
]
