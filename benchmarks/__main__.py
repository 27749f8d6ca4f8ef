"""`python -m benchmarks`: the savers beside the official ones, the store layer and the pages, in one run.

PostgreSQL is a server of its own, or the one that `TEST_POSTGRES_URL` names.
"""

from __future__ import annotations

import argparse
import asyncio

from benchmarks import deleting, forking, generator, layer, pages, postgres, replays, savers, selection

SIZES = (1_000, 100_000, 1_000_000)
SECTIONS = ("savers", "stores", "pages", "postgres", "forks", "replays", "selection", "deletions")


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="checkpoints per store")
    parser.add_argument(
        "--rounds", type=int, default=40, help="how often each call is timed; long ones 7 times"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="which tables to print")
    parser.add_argument("--operation", default="", help="only those of the savers whose name has this text")
    arguments = parser.parse_args()
    if "savers" in arguments.only:
        await savers.report(arguments.rounds, arguments.operation)
    if {"stores", "pages"} & set(arguments.only):
        stores = {f"{size:,}": generator.store(size) for size in arguments.sizes}
        stores[generator.LONG] = generator.long_store()
    if "stores" in arguments.only:
        await layer.report(stores, arguments.rounds)
    if "pages" in arguments.only:
        await pages.report(stores, arguments.rounds)
    if "postgres" in arguments.only:
        await postgres.report(arguments.rounds, arguments.operation)
    if "forks" in arguments.only:
        await forking.report(arguments.rounds)
    if "replays" in arguments.only:
        await replays.report(arguments.rounds)
    if "deletions" in arguments.only:
        await deleting.report()
    if "selection" in arguments.only:
        await selection.report(arguments.sizes, arguments.rounds)


asyncio.run(main())
