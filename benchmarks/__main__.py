"""`python -m benchmarks`: the store layer and the pages on stores of rising size, in one run."""

from __future__ import annotations

import argparse
import asyncio

from benchmarks import generator, layer, pages

SIZES = (1_000, 100_000, 1_000_000)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="checkpoints per store")
    parser.add_argument("--rounds", type=int, default=40, help="how often each call is timed")
    arguments = parser.parse_args()
    stores = {f"{size:,}": generator.store(size) for size in arguments.sizes}
    stores[generator.LONG] = generator.long_store()
    await layer.report(stores, arguments.rounds)
    await pages.report(stores, arguments.rounds)


asyncio.run(main())
