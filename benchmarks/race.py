"""A race: the same operation by several savers, which first give equal results and then take turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

LEAST = 7  # rounds of a median
COLUMNS = ["ours", "official", "ratio", "target"]


@dataclass(frozen=True, slots=True)
class Pairing:
    """A line of the table: two runners of a race, and what the ratio of their times should be."""

    name: str
    target: str = ""
    ours: str = "ours"
    official: str = "official"
    unit: str = "ms"

    def cells(self, taken: dict[str, float]) -> list[str]:
        """Return what both took, the ratio and the target."""
        ours, official = taken[self.ours], taken.get(self.official)
        if official is None:
            return [f"{ours:,.2f} {self.unit}", "has none", "", self.target]
        times = [f"{number:,.2f} {self.unit}" for number in (ours, official)]
        return [*times, f"{official / ours:.2f} x", self.target]


class Race(Protocol):
    """What is run to fill lines of the table."""

    @property
    def pairings(self) -> list[Pairing]:
        """The lines."""

    async def run(self) -> dict[str, float]:
        """Return what a call by each runner takes."""
