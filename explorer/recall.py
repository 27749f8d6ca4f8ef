"""What a page said before, as long as nobody has written to its store.

Reading and deriving a page of 50 threads takes several times as long as serving it. Somebody who walks
between the pages of a store at rest pays for each once. A store that is being written to is always read.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

from checkpoints.stores.sqlite.opening import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from checkpoints.stores import Location

T = TypeVar("T")
PAGES = 64
# A file's time moves in ticks of some milliseconds: what was read within one may miss its last write.
SETTLED_NS = 1_000_000_000

_pages: OrderedDict[Hashable, tuple[Fingerprint, Any]] = OrderedDict()


async def recall(location: Location, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
    """Return what `make` made of this store for this key, made again if its files have changed since."""
    key = (location, hash(os.environ.get("LANGGRAPH_AES_KEY")), key)
    before = Fingerprint.of(location.path)
    known = _pages.get(key)
    if known and known[0] == before:
        _pages.move_to_end(key)
        return known[1]  # type: ignore[no-any-return]
    made = await make()
    if _settled(before) and Fingerprint.of(location.path) == before:
        _pages[key] = (before, made)
    else:
        _pages.pop(key, None)
    while len(_pages) > PAGES:
        _pages.popitem(last=False)
    return made


def forget() -> None:
    """Forget every page."""
    _pages.clear()


def _settled(found: Fingerprint) -> bool:
    times = [stamp[2] for stamp in (found.database, found.wal, found.journal) if stamp]
    return bool(times) and time.time_ns() - max(times) > SETTLED_NS
