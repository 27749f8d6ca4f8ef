"""Memory: by how much a process grows while it lists all of a deep thread."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSaver

from benchmarks import generator
from benchmarks.race import Pairing
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

THREAD = "SELECT thread_id FROM checkpoints LIMIT 1"
SAVERS: dict[str, Any] = {"ours": AsyncSqliteSaver, "official": OfficialAsyncSaver}
STATUS = Path("/proc/self/status")
PEAK = re.compile(r"VmHWM:\s*(\d+) kB")


@dataclass(frozen=True, slots=True)
class Growth:
    """A process for each saver, which lists the deep thread and says how much memory that took."""

    pairings: list[Pairing] = field(
        default_factory=lambda: [Pairing("memory of alist, 20,000 of 50 KB", "< 150 MB", unit="MB")]
    )

    async def run(self) -> dict[str, float]:
        """Return the megabytes of each."""
        generator.deep_thread()
        return {name: _measure(name) for name in SAVERS}


def races() -> list[Growth]:
    """Return the one race, where the system tells a process its peak."""
    return [Growth()] if STATUS.exists() else []


def _measure(name: str) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def _growth(name: str) -> float:
    async with SAVERS[name].from_conn_string(str(generator.deep_thread())) as saver:
        async with saver.conn.execute(THREAD) as cursor:
            [(thread_id,)] = await cursor.fetchall()
        config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        await saver.aget_tuple(config)
        before = peak()
        async for _ in saver.alist(config):
            pass
        return peak() - before


def peak() -> float:
    """Return the most megabytes that this process ever had."""
    # Not getrusage: its peak is the parent's where that was larger, since Linux keeps it across exec.
    found = PEAK.search(STATUS.read_text())
    assert found
    return int(found[1]) / 1024


if __name__ == "__main__":
    print(asyncio.run(_growth(sys.argv[1])))
