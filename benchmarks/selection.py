"""Selections: threads by the metadata of any checkpoint, with what is held of each, beside the naive way.

That is the official saver's `list` with a filter for the ids, and then the rows and bytes of each thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from langgraph.checkpoint.postgres import PostgresSaver as OfficialPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver

from benchmarks import generator
from benchmarks.clock import medians, table
from benchmarks.memory import peak
from benchmarks.postgres import databases, servers
from benchmarks.race import COLUMNS, Pairing
from checkpoints.selection import Criteria, held, select
from checkpoints.stores import close

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROUNDS = 3  # the naive way takes minutes
ONE_USER = ("user_id", "user-7")
ALL = ("source", "loop")  # every thread has such a checkpoint
OF_A_FILE = {
    "checkpoints": "SELECT count(*), sum(length(checkpoint) + length(metadata))",
    "writes": "SELECT count(*), sum(length(value))",
}
OF_A_DATABASE = {
    "checkpoints": "SELECT count(*), sum(pg_column_size(checkpoint) + pg_column_size(metadata))",
    "checkpoint_writes": "SELECT count(*), sum(octet_length(blob))",
    "checkpoint_blobs": "SELECT count(*), sum(octet_length(blob))",
}


async def report(sizes: list[int], rounds: int) -> None:
    """Print what selections take at each size, and in a database of a million, beside the naive way."""
    rounds = min(rounds, ROUNDS)
    rows: dict[str, list[str]] = {}
    for size in sizes:
        path = str(generator.store(size))
        rows |= await _rows(f"SQLite, {size:,}", path, rounds, naive=size <= 100_000)
        rows[f"SQLite, {size:,}: peak of the process"] = [f"{_peak(path):,.0f} MB", "", "", "< 200 MB"]
    with servers.server() as server:
        database = databases.stored(server, "many", databases.MANY)
        try:
            rows |= await _rows("PostgreSQL, 1,040,000", database.url, rounds, naive=False)
        finally:
            await close()
    table("Selections with what is held of each thread", COLUMNS, rows)


async def _rows(name: str, place: str, rounds: int, *, naive: bool) -> dict[str, list[str]]:
    """Return the lines of one store. The naive way to all threads is shown where it ends within minutes."""
    one, every = Criteria(metadata=(ONE_USER,)), Criteria(metadata=(ALL,))
    found = await select(place, one)
    ids = [thread.thread_id for thread in (await select(place, every)).threads]
    same = {thread.thread_id: (thread.rows, thread.bytes) for thread in found.threads}
    assert same == _naive(place, ONE_USER)
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "one": partial(select, place, one),
        "one, naive": partial(asyncio.to_thread, _naive, place, ONE_USER),
        "all": partial(select, place, every),
        "known": partial(held, place, ids),
    }
    if naive:
        calls["all, naive"] = partial(asyncio.to_thread, _naive, place, ALL)
    taken = await medians(calls, rounds)
    one_user, all_threads = f"{len(found.threads)} threads of a user", f"{len(ids):,} threads"
    return {
        f"{name}: {one_user}": Pairing("", ours="one", official="one, naive").cells(taken),
        f"{name}: {all_threads}": Pairing("", "< 3 s", ours="all", official="all, naive").cells(taken),
        f"{name}: {all_threads}, known": Pairing("", ours="known", official="").cells(taken),
    }


def _naive(place: str, pair: tuple[str, str]) -> dict[str, tuple[int, int]]:
    """Return the rows and bytes of the threads that the official saver finds."""
    of_a_file = not place.startswith("postgresql://")
    kind: Any = OfficialSaver if of_a_file else OfficialPostgresSaver
    with kind.from_conn_string(place) as saver:
        found = saver.list(None, filter=dict([pair]))
        ids = dict.fromkeys(each.config["configurable"]["thread_id"] for each in found)
    with closing(sqlite3.connect(place) if of_a_file else psycopg.connect(place)) as conn:
        return {id: _counted(conn, id, OF_A_FILE if of_a_file else OF_A_DATABASE) for id in ids}


def _counted(conn: Any, thread_id: str, tables: dict[str, str]) -> tuple[int, int]:
    mark = "?" if tables is OF_A_FILE else "%s"
    found = [
        conn.execute(f"{sql} FROM {name} WHERE thread_id = {mark}", (thread_id,)).fetchone()
        for name, sql in tables.items()
    ]
    return sum(rows for rows, _ in found), int(sum(size or 0 for _, size in found))


def _peak(place: str) -> float:
    command = [sys.executable, "-m", "benchmarks.selection", place]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    asyncio.run(select(str(Path(sys.argv[1])), Criteria(metadata=(ALL,))))
    print(peak())
