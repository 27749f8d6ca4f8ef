"""Deleting a long thread: how long it takes and how long an agent waits meanwhile, beside `delete_thread`."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver

from benchmarks import generator
from benchmarks.clock import table
from checkpoints.deleting import deleting, erase
from checkpoints.stores import Location

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 3
WRITE: Final = "INSERT OR REPLACE INTO writes VALUES ('agent', '', '1', 't', ?, 'c', 'json', '1', '')"
JOURNALS: Final = ("wal", "delete")


class Agent:
    """Somebody who writes a row without a pause, and knows how long the longest write took."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.longest = 0.0
        self.writes = 0

    def __enter__(self) -> Agent:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _write(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=60, isolation_level=None)) as conn:
            conn.execute("PRAGMA synchronous=NORMAL")
            while not self._done.is_set():
                began = time.perf_counter()
                conn.execute("BEGIN IMMEDIATE")
                conn.execute(WRITE.replace("?", str(self.writes % 100)))
                conn.execute("COMMIT")
                self.longest = max(self.longest, time.perf_counter() - began)
                self.writes += 1
                time.sleep(0.001)


def ours(path: Path, thread_id: str) -> float:
    """Delete a thread in short transactions, and return for how long the longest of them was locked."""
    with deleting(Location.parse(str(path))) as deleter:
        return deleter.delete([thread_id]).longest


def official(path: Path, thread_id: str) -> float:
    """Delete it as LangGraph's saver does, in one transaction."""
    with closing(sqlite3.connect(path, check_same_thread=False)) as conn:
        began = time.perf_counter()
        OfficialSaver(conn).delete_thread(thread_id)
        return time.perf_counter() - began


async def report() -> None:
    """Print both in turns, on copies of a store with one thread of 20,000 checkpoints."""
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(dir=generator.FOLDER) as folder:
        for journal in JOURNALS:
            found = await asyncio.to_thread(_compare, Path(folder), journal)
            rows |= {f"{name}, {journal}": cells for name, cells in found.items()}
        rows["erasing it then"] = await asyncio.to_thread(_erased, Path(folder))
    columns = ["takes", "longest lock", "agent waits at most", "its writes a second"]
    table("Deleting a thread of 20,000 checkpoints beside an agent that writes", columns, rows)


def _compare(folder: Path, journal: str) -> dict[str, list[str]]:
    seen: dict[str, list[tuple[float, ...]]] = {"ours": [], "official": []}
    works: dict[str, Callable[[Path, str], float]] = {"ours": ours, "official": official}
    for _ in range(ROUNDS):
        for name, work in works.items():
            seen[name].append(_measured(folder, journal, work))
    return {name: _cells(found) for name, found in seen.items()}


def _measured(folder: Path, journal: str, work: Callable[[Path, str], float]) -> tuple[float, ...]:
    path = _copy(folder)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(f"PRAGMA journal_mode={journal}")
        [(thread_id,)] = conn.execute("SELECT thread_id FROM checkpoints LIMIT 1")
    with Agent(path) as agent:
        time.sleep(0.2)
        agent.longest, agent.writes = 0.0, 0
        began = time.perf_counter()
        locked = work(path, thread_id)
        took = time.perf_counter() - began
        writes = agent.writes / took
    return took, locked, agent.longest, writes


def _copy(folder: Path) -> Path:
    path = folder / "store.sqlite"
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    shutil.copy(generator.light_thread(), path)
    return path


def _erased(folder: Path) -> list[str]:
    path = _copy(folder)
    [thread_id] = sqlite3.connect(path).execute("SELECT thread_id FROM checkpoints LIMIT 1").fetchone()
    ours(path, thread_id)
    began = time.perf_counter()
    found = erase(Location.parse(str(path)))
    assert found.done, found
    return [f"{time.perf_counter() - began:.2f} s", f"{found.seconds * 1000:.0f} ms", "", ""]


def _cells(found: list[tuple[float, ...]]) -> list[str]:
    took, locked, longest, writes = (median(values) for values in zip(*found, strict=True))
    return [f"{took:.2f} s", f"{locked * 1000:.0f} ms", f"{longest * 1000:.0f} ms", f"{writes:,.0f}"]
