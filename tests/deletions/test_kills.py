"""kill -9 in the middle of a deletion, again and again: nothing is half deleted and called done."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deletable import Deletable
from django.test import AsyncClient
from graphs import ask_order, official_saver

from explorer import stores
from explorer.database.threads import in_database
from explorer.models import Fate, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django.fixtures import SettingsWrapper

KILLS = 50
WRITTEN = "thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value"
LONG, SHORT, SHORT_ONES = (
    12_000,
    20,
    400,
)  # checkpoints of a long thread, of a short one, and of these how many
ROOT = Path(__file__).parents[2]
FORKING = Path(__file__).parent / "forking.py"

Ids = dict[str, list[str]]


def fill(path: Path) -> None:
    """Multiply a real conversation: its rows under other ids, in long and short threads."""
    with official_saver(path) as saver:
        ask_order(saver, "kept")
    with closing(sqlite3.connect(path)) as conn, conn:
        state = conn.execute("SELECT type, checkpoint, metadata FROM checkpoints LIMIT 1").fetchone()
        write = conn.execute("SELECT channel, type, value FROM writes LIMIT 1").fetchone()
        threads = {"long": LONG, **{f"short {n}": SHORT for n in range(SHORT_ONES)}}
        for thread, length in threads.items():
            ids = [f"1f0{n:09x}" for n in range(length)]
            parents = [None, *ids]
            conn.executemany(
                "INSERT INTO checkpoints VALUES (?, '', ?, ?, ?, ?, ?)",
                [(thread, id, parent, *state) for id, parent in zip(ids, parents, strict=False)],
            )
            conn.executemany(
                f"INSERT INTO writes ({WRITTEN}) VALUES (?, '', ?, ?, 0, ?, ?, ?)",
                [(thread, id, f"task {n}", *write) for id in ids for n in range(2)],
            )


def left(path: Path) -> tuple[Ids, dict[tuple[str, str], int]]:
    """Return the ids of each thread's checkpoints, oldest first, and how many writes each has."""
    ids: Ids = defaultdict(list)
    with closing(sqlite3.connect(path)) as conn:
        for thread, id in conn.execute("SELECT thread_id, checkpoint_id FROM checkpoints ORDER BY 2"):
            ids[thread].append(id)
        counted = "SELECT thread_id, checkpoint_id, count(*) FROM writes GROUP BY 1, 2"
        return ids, {(thread, id): number for thread, id, number in conn.execute(counted)}


@pytest.fixture
def carrier(tmp_path: Path, app_database: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ,
        "EXPLORER_STORES": str(tmp_path / "shop.sqlite"),
        "DATABASE_URL": f"sqlite:///{app_database}",
        "EXPLORER_DELETION_LEASE_SECONDS": "0.05",
        "PYTHONPATH": str(ROOT),
    }
    with subprocess.Popen(
        [sys.executable, FORKING], stdin=-1, stdout=-1, text=True, env=environment, cwd=ROOT
    ) as process:
        yield process
        process.kill()


def carried(carrier: subprocess.Popen[str], kill_at: Callable[[], object] | None = None) -> int:
    """Let it go on until the moment that a function waits for, or to the end, and return how it ended."""
    assert carrier.stdin
    assert carrier.stdout
    time.sleep(0.06)  # the lease of who was killed
    carrier.stdin.write("\n")
    carrier.stdin.flush()
    child = int(carrier.stdout.readline())
    if kill_at:
        kill_at()
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(child, signal.SIGKILL)
    return int(carrier.stdout.readline())


def begun(path: Path) -> None:
    """Wait until rows of the long thread are gone."""
    with closing(sqlite3.connect(path)) as conn:
        while conn.execute("SELECT count(*) FROM checkpoints WHERE thread_id = 'long'").fetchone()[0] == LONG:
            time.sleep(0.005)


@pytest.fixture
async def shop(tmp_path: Path, settings: SettingsWrapper, app_database: Path) -> Deletable:
    fill(tmp_path / "shop.sqlite")
    settings.EXPLORER_STORES = (str(tmp_path / "shop.sqlite"),)
    settings.EXPLORER_TOKEN = "t"
    browser = AsyncClient()
    await browser.get("/", {"token": "t"})
    return Deletable(tmp_path / "shop.sqlite", browser, next(iter(stores.registered())))


async def test_killed_fifty_times_it_is_finished_and_never_called_done_before(
    shop: Deletable, carrier: subprocess.Popen[str], tmp_path: Path
) -> None:
    path = tmp_path / "shop.sqlite"
    before, writes = left(path)
    threads = [thread for thread in before if thread != "kept"]
    assert sum(len(before[thread]) for thread in threads) == 20_000
    plan = await shop.plan(*threads)
    assert (await shop.confirm(plan)).status_code == 303
    moments = random.Random(7)
    killed = 0
    for _ in range(KILLS):
        moment = partial(time.sleep, moments.uniform(0.02, 0.09))
        killed += carried(carrier, moment) == -signal.SIGKILL
        await consistent(shop, plan, before, writes)
    assert killed > KILLS // 2, "it had ended before it could be killed"
    while (await shop.again(plan)).stage != Stage.DELETED:
        assert carried(carrier) == 0
    done = await shop.again(plan)
    assert done.erased_at
    assert set(left(path)[0]) == {"kept"}
    assert left(path)[0]["kept"] == before["kept"]
    assert await in_database(plan.of.exclude(fate=Fate.GONE).count) == 0


async def consistent(shop: Deletable, plan: Any, before: Ids, writes: dict[tuple[str, str], int]) -> None:
    """What is gone is wholly gone, what is left of a thread is an older state, and nobody says otherwise."""
    now, now_writes = left(Path(shop.place))
    told = await in_database(lambda: dict(plan.of.values_list("thread_id", "fate")))
    for thread, ids in before.items():
        there = now.get(thread, [])
        assert there == ids[: len(there)], f"{thread} is no older state of itself"
        kept = [id for id in there if now_writes.get((thread, id), 0) != writes.get((thread, id), 0)]
        assert kept in ([], there[-1:]), "a checkpoint below the newest has lost writes"
        fate = told.get(thread)
        assert fate != Fate.GONE or not there
        assert fate not in (None, Fate.PLANNED) or there == ids, "it was begun without a note"
    found = await shop.again(plan)
    if found.stage in (Stage.ERASING, Stage.DELETED):
        assert set(now) == {"kept"}


async def test_asked_to_stop_between_two_kills_it_stops(
    shop: Deletable, carrier: subprocess.Popen[str], tmp_path: Path
) -> None:
    path = tmp_path / "shop.sqlite"
    before, writes = left(path)
    plan = await shop.plan("long")
    await shop.confirm(plan)
    assert carried(carrier, partial(begun, path)) == -signal.SIGKILL
    await shop.act(plan, "stop")
    assert carried(carrier) == 0
    stopped = await shop.again(plan)
    assert stopped.stage == Stage.STOPPED
    assert 0 < stopped.left["checkpoints"] < LONG
    await consistent(shop, plan, before, writes)
