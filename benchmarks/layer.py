"""The store layer: what a screen reads, from opening the file to closing it."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from benchmarks.clock import medians, table
from checkpoints.errors import ReadTimeout
from checkpoints.stores import Location, Search, Store, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

GROUPING = "SELECT thread_id, count(*), max(checkpoint_id) FROM checkpoints GROUP BY thread_id"
GROUP_BY = "GROUP BY thread_id"
FIRST_PAGE = "first page of threads"


@dataclass(frozen=True, slots=True)
class Sample:
    """A thread of the first page, to look at in the other questions."""

    thread_id: str
    checkpoint_id: str


async def sample(location: Location) -> Sample:
    """Pick the longest thread of the first page."""

    async def pick(store: Store) -> Sample:
        row = max((await store.threads()).threads, key=attrgetter("checkpoints"))
        assert row.head
        return Sample(row.thread_id, row.head.checkpoint_id)

    return await read(location, pick)


async def report(stores: dict[str, Path], rounds: int) -> None:
    """Print the median of each question at each size, and the first page against GROUP BY."""
    calls: dict[str, Callable[[], Awaitable[Any]]] = {}
    for size, path in stores.items():
        location = Location.parse(str(path))
        asked = questions(location, await sample(location), await _key_in_the_middle(location))
        asked[GROUP_BY] = _grouping(path)
        calls |= {f"{size} {name}": call for name, call in asked.items()}
    taken = await medians(calls, rounds)
    names = [name.partition(" ")[2] for name in list(calls)[: len(calls) // len(stores)]]
    rows = {name: [f"{taken[f'{size} {name}']:.2f} ms" for size in stores] for name in names}
    rows["first page is faster by"] = [
        f"{taken[f'{size} {GROUP_BY}'] / taken[f'{size} {FIRST_PAGE}']:.1f} x" for size in stores
    ]
    table("Store layer, opening and closing included", list(stores), rows)


def questions(location: Location, chosen: Sample, deep: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return what the screens ask of a store, by what they show. `deep` is the key of a page."""

    def question(ask: Callable[[Store], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def ask_it() -> None:
            with suppress(ReadTimeout):  # on a cold disk a search may; its time counts all the same
                await read(location, ask)

        return ask_it

    return {
        "opening alone": question(_nothing),
        FIRST_PAGE: question(lambda store: store.threads()),
        "a page from the middle": question(lambda store: store.threads(before=deep)),
        "search by id": question(lambda store: store.threads(search=Search(thread_id=chosen.thread_id[:8]))),
        "timeline": question(lambda store: store.timeline(chosen.thread_id, "")),
        "checkpoint": question(
            lambda store: store.checkpoint_row(chosen.thread_id, "", chosen.checkpoint_id)
        ),
    }


def _grouping(path: Path) -> Callable[[], Awaitable[Any]]:
    async def group() -> None:
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as conn:
            conn.execute(GROUPING).fetchall()

    return group


async def _nothing(store: Store) -> None:
    pass


async def _key_in_the_middle(location: Location) -> str:
    page = await read(location, lambda store: store.threads(limit=1))
    return str(int(page.threads[0].activity) // 2)
