"""The rules that a command names, and the threads of a store that they are for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from checkpoints import stores as open_stores
from checkpoints.deleting import forecast
from checkpoints.selection import Criteria, select
from explorer.wording import count

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from checkpoints.deleting import Forecast
    from checkpoints.selection import Held
    from checkpoints.stores import Location

QUIET: Final = timedelta(minutes=10)  # a thread that was written since may have an agent at work on it


@dataclass(frozen=True, slots=True)
class Rules:
    """What is to go: whole threads that are idle for so many days, and all but the newest checkpoints.

    Both are for threads whose ids begin with `prefix`, and that have these pairs of metadata.
    """

    keep_latest: bool
    idle_days: int | None
    prefix: str = ""
    metadata: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, options: Namespace) -> Rules:
        return cls(options.keep_latest, options.idle_days, options.prefix, tuple(options.where))

    @property
    def words(self) -> tuple[str, ...]:
        """What idle threads are found by, as a plan of their deletion keeps it."""
        return (
            *([f"no checkpoint in the last {count(self.idle_days, 'day')}"] if self.idle_days else []),
            *([f"an id that begins with {self.prefix!r}"] if self.prefix else []),
            *(f"metadata {key} = {value} in some checkpoint" for key, value in self.metadata),
        )

    def criteria(self, idle: timedelta) -> Criteria:
        """Return what is selected by, of threads that are idle for so long."""
        return Criteria(prefix=self.prefix, metadata=self.metadata, idle_since=datetime.now(UTC) - idle)


@dataclass(frozen=True, slots=True)
class Found:
    """What the rules are for: `idle` threads, which go, and those of which the newest checkpoints stay.

    `forecast` is what goes of the latter, `seconds` is for how long was looked for the former.
    """

    idle: tuple[Held, ...]
    pruned: tuple[Held, ...]
    forecast: Forecast
    seconds: float


def find(location: Location, rules: Rules, told: Callable[[str], None] = lambda text: None) -> Found:
    """Look what the rules are for; `told` gets how far that is. Raises StoreError. Nothing is written."""
    told("Looking for threads")
    idle, pruned, seconds = asyncio.run(_selected(location, rules))
    looked_at = forecast(
        location, pruned, lambda done: told(f"Looking into {done:,} of {count(len(pruned), 'thread')}")
    )
    return Found(idle, pruned, looked_at, seconds)


async def _selected(location: Location, rules: Rules) -> tuple[tuple[Held, ...], tuple[Held, ...], float]:
    """Return the idle threads, the others that are to be pruned, and how long it took to find the former."""
    idle: tuple[Held, ...] = ()
    pruned: tuple[Held, ...] = ()
    seconds = 0.0
    try:
        if rules.idle_days is not None:
            selection = await select(location, rules.criteria(timedelta(days=rules.idle_days)))
            idle, seconds = selection.threads, selection.seconds
        if rules.keep_latest:
            gone = {thread.thread_id for thread in idle}
            selection = await select(location, rules.criteria(QUIET))
            pruned = tuple(each for each in selection.threads if each.thread_id not in gone)
    finally:
        await open_stores.close()
    return idle, pruned, seconds
