"""Medians of calls that take turns, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def medians(calls: dict[str, Callable[[], Awaitable[Any]]], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each call. One round before these warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            began = perf_counter()
            await call()
            if number:
                seconds[name].append(perf_counter() - began)
    return {name: median(taken) * 1000 for name, taken in seconds.items()}


def table(title: str, columns: list[str], rows: dict[str, list[str]]) -> None:
    """Print rows under a title, numbers to the right."""
    print(f"\n{title}")
    width = max(map(len, rows)) + 2
    for name, cells in {"": columns, **rows}.items():
        print(f"  {name:<{width}}" + "".join(f"{cell:>18}" for cell in cells))
