"""What a page said before, as long as nobody has written to its store.

Reading and deriving a page of 50 threads takes several times as long as serving it. Somebody who walks
between the pages of a store at rest pays for each once. A store that is being written to is always read.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from checkpoints.stores import read_since
from explorer.reading import serializer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from checkpoints.stores import Location, Store
    from explorer.people.roles import Person


class Bounded(Protocol):
    """What a page shows; `bound` says where the read stopped before its end."""

    @property
    def bound(self) -> str | None: ...


T = TypeVar("T", bound=Bounded)
PAGES = 64

_NEVER: tuple[Hashable, Any] = (None, None)
_pages: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()


async def recall(
    person: Person, location: Location, key: Hashable, question: Callable[[Store], Awaitable[T]]
) -> T:
    """Return the store's answer for this key, asked again if anybody has written to it since.

    People for whom the same is masked share what is remembered, so an answer must not depend on who they are.
    """
    key = (location, hash(os.environ.get("LANGGRAPH_AES_KEY")), person.masks, key)
    known = _pages.get(key, _NEVER)
    mark, answer = await read_since(location, known[0], question, serde=serializer(person)) or known
    if mark is None or answer.bound:  # read again, there may be more time
        _pages.pop(key, None)
    else:
        _pages[key] = mark, answer
        _pages.move_to_end(key)
    while len(_pages) > PAGES:
        _pages.popitem(last=False)
    return answer


def forget() -> None:
    """Forget every page."""
    _pages.clear()
