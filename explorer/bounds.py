"""How much of a list a page shows. Whatever is left out is counted, and is in the raw JSON."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection

T = TypeVar("T")

CHANNELS = 200
CHANGES = 100
WRITES = 300
VERSIONS = 500
NAMESPACES = 500
METADATA = 12
TASKS = 20
CALLS = 100


def first(items: Collection[T], limit: int) -> tuple[list[T], int]:
    """Return the first of the items, and how many there are beyond."""
    return list(islice(items, limit)), max(len(items) - limit, 0)


def listed(names: Collection[str], limit: int) -> str:
    """Return the first names in a row, and how many there are beyond."""
    shown, beyond = first(names, limit)
    return ", ".join((*shown, *([f"{beyond:,} more"] if beyond else [])))
