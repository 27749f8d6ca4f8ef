"""Medians of calls that take turns, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


async def medians(
    calls: Mapping[str, Callable[[], Awaitable[Any]]],
    rounds: int,
    prepare: Callable[[str], Awaitable[Any]] | None = None,
) -> dict[str, float]:
    """Return the median milliseconds of each call. One round before these warms up and does not count.

    Every other round goes backwards: who comes second finds the disk's caches warm. `prepare` is awaited with
    the name of each call before it, off the clock.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name in list(calls) if number % 2 else reversed(list(calls)):
            if prepare:
                await prepare(name)
            began = perf_counter()
            await calls[name]()
            if number:
                seconds[name].append(perf_counter() - began)
    return {name: median(taken) * 1000 for name, taken in seconds.items()}


def table(title: str, columns: list[str], rows: dict[str, list[str]]) -> None:
    """Print rows under a title, numbers to the right."""
    width = heading(title, columns, list(rows))
    for name, cells in rows.items():
        line(name, cells, width)


def heading(title: str, columns: list[str], names: list[str]) -> int:
    """Print the head of a table and return the width of the names that its lines will have."""
    print(f"\n{title}")
    width = max(map(len, names)) + 2
    line("", columns, width)
    return width


def line(name: str, cells: list[str], width: int) -> None:
    """Print a row of a table."""
    print(f"  {name:<{width}}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
