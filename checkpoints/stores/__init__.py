"""Stores: databases of checkpoints, opened for one question and read without a trace."""

from __future__ import annotations

from checkpoints.stores.location import Location
from checkpoints.stores.reading import check, close, read, read_since
from checkpoints.stores.records import (
    ChannelRow,
    CheckpointRow,
    Hint,
    NamespaceRow,
    Overview,
    Search,
    ThreadPage,
    ThreadRow,
    TimelinePage,
    WriteRow,
)
from checkpoints.stores.sqlite.store import SqliteStore
from checkpoints.stores.store import Store

__all__ = [
    "ChannelRow",
    "CheckpointRow",
    "Hint",
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
    "close",
    "read",
    "read_since",
]
