"""Questions to a store that count how often they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checkpoints.stores import Store


class Page(int):
    """What a reader made, by its number."""

    bound: str | None = None


class Reader:
    """Counts how often it is asked."""

    asked = 0

    async def __call__(self, opened: Store) -> Page:
        self.asked += 1
        return Page(self.asked)
