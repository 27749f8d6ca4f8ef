"""Asking a store for a person: what is masked for them is replaced where its rows are decoded.

Views ask through here or through recall.py, never the store itself (tests/test_imports.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from checkpoints import stores
from checkpoints.inert import InertSerializer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from checkpoints.stores import Location, Store
    from explorer.people.roles import Person

T = TypeVar("T")


async def read(person: Person, location: Location, question: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store, ask it the question, close it. Raises a StoreError that says what is wrong."""
    return await stores.read(location, question, serde=serializer(person))


def serializer(person: Person) -> InertSerializer:
    """Return what decodes rows for a person."""
    return InertSerializer.from_environment(masks=person.masks)
