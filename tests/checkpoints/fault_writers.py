"""Child processes for the tests of faults: they write, fork, lose room or rights, and say what happened.

Run from the project's root: `python -m tests.checkpoints.fault_writers NAME PATH`.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sqlite3
import sys
import threading
import time
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

import aiosqlite
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver

from checkpoints.sqlite import SqliteSaver, commits
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

COROUTINES, THREADS = 16, 6
SIZES = (0, 10, 500, 6000)  # bytes of a value: inside a page, and on overflow pages
NOBODY = 65534


def thread(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


def here(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", "checkpoint_id": "1"}}


def checkpoint(size: int = 0) -> Any:
    return {**empty_checkpoint(), "id": "1", "channel_values": {"a": "x" * size}}


def writes(size: int = 0) -> list[tuple[str, Any]]:
    return [(channel, "x" * size) for channel in "abc"]


# Writers without end, to be killed. Each thread of the store gets a checkpoint and three writes, and some are
# deleted again. The journal holds what was acknowledged, and what was about to be deleted.


def note(journal: int, *words: str) -> None:
    os.write(journal, f"{' '.join(words)}\n".encode())


def names(worker: int) -> Iterator[tuple[str, int, bool]]:
    for n in count():
        yield f"{os.getpid()}-{worker}-{n}", SIZES[n % len(SIZES)], n % 3 == 2


async def write_async(path: str, journal: int) -> None:
    async def work(saver: AsyncSqliteSaver, worker: int) -> None:
        for name, size, deleted in names(worker):
            await saver.aput(thread(name), checkpoint(size), {}, {})
            note(journal, "checkpoint", name)
            await saver.aput_writes(here(name), writes(size), "task")
            note(journal, "writes", name)
            if deleted:
                note(journal, "deleting", name)
                await saver.adelete_thread(name)
                note(journal, "deleted", name)

    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        await asyncio.gather(*(work(saver, worker) for worker in range(COROUTINES)))


def write_sync(path: str, journal: int) -> None:
    def work(saver: SqliteSaver, worker: int) -> None:
        for name, size, deleted in names(worker):
            saver.put(thread(name), checkpoint(size), {}, {})
            note(journal, "checkpoint", name)
            saver.put_writes(here(name), writes(size), "task")
            note(journal, "writes", name)
            if deleted:
                note(journal, "deleting", name)
                saver.delete_thread(name)
                note(journal, "deleted", name)

    with SqliteSaver.from_conn_string(path) as saver:
        workers = [threading.Thread(target=work, args=(saver, worker)) for worker in range(THREADS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def nursery(path: str) -> None:
    """Fork a writer for every line of stdin (kind, store); say its number, and then that it has died."""
    with SqliteSaver.from_conn_string(":memory:") as saver:  # what is imported at first use
        saver.put(thread("warm"), checkpoint(), {}, {})
    for line in sys.stdin:
        kind, store = line.split()
        journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if not (child := os.fork()):
            if kind == "async":
                asyncio.run(write_async(store, journal))
            write_sync(store, journal)
        os.close(journal)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("dead", flush=True)


def official(path: str) -> None:
    """Write with the official saver until stdin ends; each line of stdout is a thread of the store."""
    with OfficialSaver.from_conn_string(path) as saver:
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        for name, size, _ in names(0):
            saver.put(thread(name), checkpoint(size), {}, {})
            saver.put_writes(here(name), writes(size), "task")
            os.write(1, f"{name}\n".encode())
            time.sleep(0.002)


def full(path: str) -> None:
    """Write among neighbours what does not fit below a limit on the size of files, and again without it."""

    async def work() -> list[Any]:
        async with AsyncSqliteSaver.from_conn_string(path) as saver:
            await saver.aput_writes(here("first"), writes(), "task")
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            room = os.stat(f"{path}-wal").st_size + 200_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
            sizes = [10, 10, 900_000, 10, 900_000, 10]
            found = [await together(saver, sizes, "crowded")]
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            return [*found, await together(saver, sizes, "roomy")]

    async def together(saver: AsyncSqliteSaver, sizes: list[int], name: str) -> list[str]:
        async with saver.lock:
            calls = [
                asyncio.create_task(saver.aput_writes(here(f"{name}-{n}"), writes(size), "task"))
                for n, size in enumerate(sizes)
            ]
            await asyncio.sleep(0)
        found = await asyncio.gather(*calls, return_exceptions=True)
        return [type(error).__name__ if error else "stored" for error in found]

    print(json.dumps(asyncio.run(work())))


def read_only(path: str) -> None:
    """Read a file that may not be written, and try to write it, with both savers."""
    asyncio.run(_try_to_write(path, lambda saver: saver.aget_tuple(here("first"))))  # imports what it needs
    if os.geteuid() == 0:  # who may write anywhere
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    asyncio.run(_try_to_write(path, lambda saver: saver.aget_tuple(here("first"))))
    asyncio.run(_try_to_write(path, lambda saver: saver.aput_writes(here("first"), writes(), "other")))
    asyncio.run(_try_to_write(path, lambda saver: saver.adelete_thread("first")))
    with SqliteSaver.from_conn_string(path) as saver:
        print("read" if list(saver.list(None)) else "nothing")
        try:
            saver.put_writes(here("first"), writes(), "other")
        except sqlite3.OperationalError as error:
            print(error)


async def _try_to_write(path: str, method: Callable[[AsyncSqliteSaver], Coroutine[Any, Any, Any]]) -> None:
    async with aiosqlite.connect(path) as conn:
        try:
            print("read" if await method(AsyncSqliteSaver(conn)) else "nothing")
        except sqlite3.OperationalError as error:
            print(error)


class Interrupt:
    """Raises KeyboardInterrupt at the nth line that a thread runs as the leader of a group commit."""

    def __init__(self, nth: int, prepare: Callable[[], None]) -> None:
        self.left = nth
        self.prepare: Callable[[], None] | None = prepare

    def __call__(self, frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != commits.__file__:
            return None
        if self.prepare and frame.f_code.co_name == "commit":
            self.prepare()
            self.prepare = None
        self.left -= event == "line" and not self.prepare
        if not self.left:
            sys.settrace(None)
            raise KeyboardInterrupt
        return self


def interrupted(path: str) -> None:
    """Interrupt the thread that leads, as Ctrl-C does, at each line; say how the others fare."""
    for nth in count(1):
        if not (child := os.fork()):
            os._exit(interrupt(f"{path}-{nth}", nth))
        if end := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            break
    print({1: "well until the end", 2: "the others hang", 3: "writes were lost"}.get(end, end), "line", nth)


def interrupt(path: str, nth: int) -> int:
    def follow() -> None:
        for follower in followers:
            follower.start()
        time.sleep(0.01)  # they wait for the lock, which the leader has

    end = 0
    with SqliteSaver.from_conn_string(path) as saver:
        saver.conn.execute("PRAGMA synchronous=OFF")
        saver.setup()
        tasks = [(here("followers"), writes(), f"task-{n}") for n in range(3)]
        followers = [threading.Thread(target=saver.put_writes, args=task, daemon=True) for task in tasks]
        try:
            sys.settrace(Interrupt(nth, follow))
            saver.put_writes(here("leader"), writes(), "task")
            end = 1
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        deadline = time.monotonic() + 5
        for follower in followers:
            follower.join(max(0, deadline - time.monotonic()))
        if any(follower.is_alive() for follower in followers):
            return 2
    with closing(sqlite3.connect(path, timeout=0)) as conn:
        conn.execute("BEGIN EXCLUSIVE")
        counts = dict(conn.execute("SELECT thread_id, count(*) FROM writes GROUP BY thread_id"))
    return end if counts in ({"followers": 9}, {"followers": 9, "leader": 3}) else 3


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
