"""Writers on PostgreSQL without end, to be killed. The journal holds what was acknowledged.

Run from the project's root: `python -m tests.checkpoints.postgres_writers JOURNAL`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from postgres_threads import WRITES, aopened, at, opened, putting

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 4


def note(journal: int, *words: str) -> None:
    os.write(journal, f"{' '.join(words)}\n".encode())


def names(worker: int) -> Iterator[str]:
    return (f"{os.getpid()}-{worker}-{number}" for number in count())


async def write_async(url: str, journal: int) -> None:
    async def work(saver: Any, worker: int) -> None:
        for name in names(worker):
            await saver.aput(*putting(name, 1))
            note(journal, "checkpoint", name)
            await saver.aput_writes(at(name, 1), WRITES, "task")
            note(journal, "writes", name)

    async with aopened(url, "pool") as saver:
        await asyncio.gather(*(work(saver, worker) for worker in range(WORKERS)))


def write_sync(url: str, journal: int) -> None:
    def work(saver: Any, worker: int) -> None:
        for name in names(worker):
            saver.put(*putting(name, 1))
            note(journal, "checkpoint", name)
            saver.put_writes(at(name, 1), WRITES, "task")
            note(journal, "writes", name)

    with opened(url) as saver:
        workers = [threading.Thread(target=work, args=(saver, worker)) for worker in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def nursery(path: str) -> None:
    """Fork a writer for every line of stdin (kind, URL); say its number, and then that it has died."""
    for line in sys.stdin:
        kind, url = line.split()
        journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if not (child := os.fork()):
            if kind == "async":
                asyncio.run(write_async(url, journal))
            write_sync(url, journal)
        os.close(journal)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    nursery(sys.argv[1])
