"""Selects the threads of a store by what is stored of them, and tells what is held of each.

What is read of a few threads is read at one moment, but not of all of them at the same one. A thread that is
written meanwhile is told by its mark: `held` returns another one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from checkpoints.errors import NothingAskedFor, SelectionRefused, TooManyIds
from checkpoints.selection.pasted import MOST_IDS, pasted
from checkpoints.selection.portions import Progress, in_parts
from checkpoints.selection.states import ORPHANED, STATES, with_status
from checkpoints.stores.location import Location
from checkpoints.stores.reading import read
from checkpoints.stores.selection import Criteria, Held, ThreadKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from checkpoints.stores.store import Store

    Measured: TypeAlias = tuple[ThreadKey, Held]

__all__ = [
    "MOST_IDS",
    "ORPHANED",
    "STATES",
    "Criteria",
    "Held",
    "Progress",
    "Selection",
    "held",
    "pasted",
    "select",
]

SECONDS = 60.0  # that one connection may read


@dataclass(frozen=True, slots=True)
class Selection:
    """The threads that fulfil criteria: as they were asked for by id, else those with the newest id first.

    `missing` are the ids that were asked for and that no table has. `unnamed` are threads that fulfil the
    criteria but cannot be asked for, as their ids are no readable text: they are named by type and content.
    `tables` are those that were counted, `seconds` is how long it took.
    """

    threads: tuple[Held, ...]
    missing: tuple[str, ...]
    unnamed: tuple[Held, ...]
    tables: tuple[str, ...]
    seconds: float


async def select(
    store: Location | str, criteria: Criteria, *, progress: Callable[[Progress], None] | None = None
) -> Selection:
    """Select the threads of which all criteria hold, however many. `progress` is called on the event loop.

    Raises SelectionRefused for criteria that mean nothing, ReadTimeout where it takes more than a minute, and
    every other reason why a store cannot be read. Nothing is written, and an agent may write all the while.
    """
    began = time.monotonic()
    _require(criteria)
    location = _location(store)
    asked = _keys(criteria.thread_ids)
    keys, tables = await read(location, partial(_candidates, criteria, asked), seconds=SECONDS)
    found = await in_parts(location, keys, partial(_selected, criteria), SECONDS, progress)
    if not asked:
        found.sort(key=lambda pair: pair[1].newest, reverse=True)
    there = set(keys)
    return Selection(
        threads=tuple(held for key, held in found if key.text is not None),
        missing=tuple(id for id, key in asked.items() if key not in there),
        unnamed=tuple(held for key, held in found if key.text is None),
        tables=tables,
        seconds=time.monotonic() - began,
    )


async def held(
    store: Location | str,
    thread_ids: Iterable[str],
    *,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Held]:
    """Tell what is held of these threads now, by id; those of which no table has a row are left out."""
    keys = [key for key in _keys(thread_ids).values() if key]
    found = await in_parts(_location(store), keys, _held, SECONDS, progress)
    return {thread.thread_id: thread for _, thread in found}


async def _candidates(
    criteria: Criteria, asked: Mapping[str, ThreadKey | None], store: Store
) -> tuple[list[ThreadKey], tuple[str, ...]]:
    if asked:
        existing = await store.existing([key for key in asked.values() if key])
        keys = [key for key in existing if key.begins(criteria.prefix)]
    else:
        keys = await store.candidates(criteria)
    return keys, store.tables


async def _selected(criteria: Criteria, store: Store, keys: Sequence[ThreadKey]) -> list[Measured]:
    """Look at some threads: at what is cheapest first."""
    keys = await store.narrowed(keys, criteria)
    if criteria.status is not None:
        keys = await with_status(store, keys, criteria.status)
    return await store.held(keys)


async def _held(store: Store, keys: Sequence[ThreadKey]) -> list[Measured]:
    return await store.held(keys)


def _require(criteria: Criteria) -> None:
    """Raise SelectionRefused for what cannot be meant."""
    if criteria == Criteria():
        raise NothingAskedFor("Nothing says which threads are meant.")
    if len(criteria.thread_ids) > MOST_IDS:
        raise TooManyIds(
            f"These are {len(criteria.thread_ids):,} thread ids; one selection takes {MOST_IDS:,}."
        )
    texts = (criteria.prefix, *(text for pair in criteria.metadata for text in pair))
    if any(_key(text) is None for text in texts):
        raise SelectionRefused("No store can hold what is looked for: it is no text.")
    if criteria.status is not None and criteria.status not in STATES:
        raise SelectionRefused("No thread has this status.", advice=f"It is one of: {', '.join(STATES)}.")
    if criteria.idle_since is not None and criteria.idle_since.tzinfo is None:
        raise SelectionRefused("The age is a time without a time zone.", advice="Give the time zone as well.")


def _keys(thread_ids: Iterable[str]) -> dict[str, ThreadKey | None]:
    """Return each id once, with what it is in a database: None of what no database can hold."""
    return {id: _key(id) for id in thread_ids}


def _key(id: str) -> ThreadKey | None:
    try:
        return ThreadKey.of_text(id)
    except UnicodeEncodeError:
        return None


def _location(store: Location | str) -> Location:
    return Location.parse(store) if isinstance(store, str) else store
