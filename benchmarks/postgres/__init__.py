"""PostgreSQL: our savers against the official ones, and the store layer with and without its index."""

from __future__ import annotations

import os

import psycopg

from benchmarks.clock import heading, line
from benchmarks.postgres import layer, memory, reading, servers, writing
from benchmarks.race import COLUMNS, LEAST, Race

SETTINGS = ("fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "autovacuum", "jit")


async def report(rounds: int, only: str = "") -> None:
    """Print what a call of each saver takes, the ratio and the target; `only` where a name has this text."""
    rounds = max(rounds, LEAST)
    with servers.server() as server:
        print(f"\n{_described(server)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        races: list[Race] = [
            *reading.races(rounds, server),
            *writing.races(rounds, server),
            *memory.races(server),
        ]
        if chosen := [race for race in races if any(only in pairing.name for pairing in race.pairings)]:
            await _race(chosen)
        if only in layer.TITLE:
            await layer.report(server, rounds)


async def _race(races: list[Race]) -> None:
    names = [pairing.name for race in races for pairing in race.pairings]
    width = heading("PostgreSQL: a call, by turns and after equal results", COLUMNS, names)
    for race in races:
        taken = await race.run()
        for pairing in race.pairings:
            line(pairing.name, pairing.cells(taken), width)


def _described(server: str) -> str:
    with psycopg.connect(server) as conn:
        settings = [f"{name} {conn.execute(f'SHOW {name}').fetchall()[0][0]}" for name in SETTINGS]
        return f"PostgreSQL {conn.info.server_version // 10000}: {', '.join(settings)}"
