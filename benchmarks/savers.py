"""Our SQLite savers against the official ones: every operation in turns, after both gave equal results."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks import generator, memory, reading, writing
from benchmarks.clock import heading, line
from benchmarks.race import COLUMNS, LEAST, Race


async def report(rounds: int, only: str = "") -> None:
    """Print what a call of each saver takes, the ratio and the target; `only` where a name has this text."""
    generator.FOLDER.mkdir(exist_ok=True)
    rounds = max(rounds, LEAST)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=generator.FOLDER)))
        races: list[Race] = [
            *await reading.races(rounds, stack),
            *writing.races(rounds, folder),
            *memory.races(),
        ]
        chosen = [race for race in races if any(only in pairing.name for pairing in race.pairings)]
        names = [pairing.name for race in chosen for pairing in race.pairings]
        print(f"\nFiles are written in {folder}, where an fsync takes {writing.fsync_time(folder):.2f} ms.")
        width = heading("Savers: milliseconds of a call, by turns and after equal results", COLUMNS, names)
        for race in chosen:
            taken = await race.run()
            for pairing in race.pairings:
                line(pairing.name, pairing.cells(taken), width)
