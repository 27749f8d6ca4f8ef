"""A listing: the checkpoints that a search finds, page by page, in the saver's order."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Generic

from checkpoints.saver.tables import S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.saver.tables import Search
    from checkpoints.statements import Operation, Row

PAGE_CHECKPOINTS = 64
PAGE_BYTES = 8 * 2**20
MORE_KEYS = 2**16  # after the first page: each batch looks at all keys anew


class Listing(Generic[S]):
    """Reads what a search finds, page by page. Between pages it holds no cursor and no lock.

    Where it is a stretch of one namespace, checkpoints are read as such. Elsewhere keys come first: one page
    of them, then many, since each batch has to sort all that are left. Read pages until it has `ended`.
    Raises ValueError for a limit that is no whole number.
    """

    def __init__(self, search: Search[S], limit: int | None = None) -> None:
        self._search = search
        self._left = _whole(limit)
        at_once = search.at_once and self._left <= PAGE_CHECKPOINTS
        self._first = int(self._left) if at_once else search.first
        self._keys: deque[Row] = deque()
        self._last: Row | None = None
        self._batch = PAGE_CHECKPOINTS

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to read."""
        return not self._keys and not self._left

    def page(self) -> Operation[list[S]]:
        """Return the next checkpoints. One that was deleted meanwhile is left out."""
        page: list[S] = []
        size, wanted = 0, self._first  # then twice as many, while the page is below its bytes
        while not self.ended and len(page) < PAGE_CHECKPOINTS and size < PAGE_BYTES:
            count = min(wanted, PAGE_CHECKPOINTS - len(page))
            if self._search.in_one_stretch:
                found = yield from self._read_stretch(count)
            else:
                found = yield from self._read_by_key(count)
            page += found
            size += sum(stored.size for stored in found)
            wanted *= 2
        return page

    def _read_stretch(self, count: int) -> Operation[list[S]]:
        limit = int(min(count, self._left))
        found = yield from self._search.stretch(self._last, limit)
        for at in found[-1:]:
            self._last = (at.thread_id, at.checkpoint_ns, at.checkpoint_id, at.checkpoint_ns)
        self._count(found, limit)
        return found

    def _read_by_key(self, count: int) -> Operation[list[S]]:
        if not self._keys:
            yield from self._read_keys()
        keys = [self._keys.popleft()[:3] for _ in range(min(count, len(self._keys)))]
        return (yield from self._search.find_all(keys)) if keys else []

    def _read_keys(self) -> Operation[None]:
        limit = int(min(self._batch, self._left))
        keys = yield from self._search.keys(self._last, limit)
        self._keys.extend(keys)
        self._batch = MORE_KEYS
        self._last = keys[-1] if keys else None
        self._count(keys, limit)

    def _count(self, found: Sequence[Any], limit: int) -> None:
        self._left = self._left - limit if len(found) == limit else 0


def _whole(limit: int | None) -> float:
    if limit is None:
        return math.inf
    whole = int(limit)
    if whole != float(limit):
        raise ValueError(f"limit is {limit!r}; give a whole number")
    return math.inf if whole < 0 else whole  # as in SQL
