"""A long thread listed to its end: how long that takes, and by how much the process grows."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.memory import STATUS, peak
from benchmarks.postgres import databases, savers
from benchmarks.race import Pairing

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


@dataclass(frozen=True, slots=True)
class Growth:
    """A process for each saver, which lists the long thread once and says what that took."""

    server: str
    pairings: list[Pairing] = field(
        default_factory=lambda: [
            Pairing("alist, 20,000 of 10 KB, once", ">= 1 x", "our time", "official time", unit="s"),
            Pairing("its memory", "", "our memory", "official memory", unit="MB"),
        ]
    )

    async def run(self) -> dict[str, float]:
        """Return the seconds and megabytes of each."""
        many = databases.stored(self.server, "many", databases.MANY)
        [thread_id] = many.threads(2)
        taken = {}
        for name, whose in (("ours", "our"), ("official", "official")):
            taken[f"{whose} time"], taken[f"{whose} memory"] = _measure(name, many.url, thread_id)
        return taken


def races(server: str) -> list[Growth]:
    """Return the one race, where the system tells a process its peak."""
    return [Growth(server)] if STATUS.exists() else []


def _measure(name: str, url: str, thread_id: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.postgres.memory", name, url, thread_id]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, megabytes = json.loads(told)
    return float(seconds), float(megabytes)


async def _listing(name: str, url: str, thread_id: str) -> tuple[float, float]:
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    async with savers.ON_CONNECTION[name](url) as saver:
        await saver.aget_tuple(config)
        before, began = peak(), time.perf_counter()
        async for _ in saver.alist(config):
            pass
        return time.perf_counter() - began, peak() - before


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_listing(*sys.argv[1:]))))
