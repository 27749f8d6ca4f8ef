"""The store layer on PostgreSQL: what a screen reads, with and without an index on the checkpoints' ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.clock import medians, table
from benchmarks.layer import Sample, questions
from benchmarks.postgres import databases
from checkpoints.stores import Location, close
from checkpoints.stores.postgres.places import Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.postgres.databases import Database

INDEX = "CREATE INDEX benchmark ON checkpoints (checkpoint_id DESC) INCLUDE (thread_id)"
NO_INDEX = "DROP INDEX IF EXISTS benchmark"
TITLE = "PostgreSQL store layer, beginning and end of the transaction included"


async def report(server: str, rounds: int) -> None:
    """Print the median of each question in a small and a large store, first without the index."""
    stores = {
        "10,000": databases.stored(server, "small", databases.SMALL),
        "1,020,000": databases.stored(server, "many", databases.MANY),
    }
    columns: list[str] = []
    rows: dict[str, list[str]] = {}
    try:
        for prepare, what in ((NO_INDEX, ""), (INDEX, ", index")):
            for database in stores.values():
                _run(database, prepare)
            taken = await _measure(stores, rounds)
            columns += [*(f"{size}{what}" for size in stores), "ratio"]
            for name, times in taken.items():
                ratio = f"{times[1] / times[0]:.1f} x"
                rows.setdefault(name, []).extend([*(f"{time:.2f} ms" for time in times), ratio])
    finally:
        await close()
        for database in stores.values():
            _run(database, NO_INDEX)
    table(TITLE, columns, rows)


async def _measure(stores: dict[str, Database], rounds: int) -> dict[str, list[float]]:
    """Return what each question takes in each store."""
    calls: dict[str, Callable[[], Awaitable[Any]]] = {}
    for database in stores.values():
        location = Location.parse(database.url)
        longest, other = database.threads(-1)[-1], database.threads()[len(database.threads()) // 2]
        chosen = Sample(longest, database.ids(longest)[-10])
        deep = Place(database.ids(other)[-1], other).key
        asked = questions(location, chosen, deep)
        calls |= {f"{database.name} {name}": call for name, call in asked.items()}
    taken = await medians(calls, rounds)
    names = [name.partition(" ")[2] for name in list(calls)[: len(calls) // len(stores)]]
    return {name: [taken[f"{database.name} {name}"] for database in stores.values()] for name in names}


def _run(database: Database, statement: str) -> None:
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute(statement)
        conn.execute("VACUUM ANALYZE checkpoints")
