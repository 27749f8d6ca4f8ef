"""Kills, full disks, locked, closed and read-only files: a clear error, and nothing stored is lost."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiosqlite
import pytest
from fault_writers import checkpoint, here, thread, writes

from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

ROOT = Path(__file__).parents[2]
CHILD = (sys.executable, "-m", "tests.checkpoints.fault_writers")
PATIENCE = 30  # seconds until a test counts as hanging
ROUNDS = 100  # for each saver
HOLDER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""
COUNTS = """
SELECT thread_id, sum(kind = 'c'), sum(kind = 'w') FROM
(SELECT thread_id, 'c' AS kind FROM checkpoints UNION ALL SELECT thread_id, 'w' FROM writes) GROUP BY 1"""


def counts(path: Path) -> dict[str, tuple[int, int]]:
    """Return how many checkpoints and writes each thread has, of a file that is sound."""
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not conn.execute("SELECT * FROM sqlite_master").fetchall():
            return {}
        return {name: (checkpoints, rows) for name, checkpoints, rows in conn.execute(COUNTS)}


async def outcomes_of(*calls: Awaitable[Any]) -> list[Any]:
    """Return the results and errors of the calls. None of them hangs."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*calls, return_exceptions=True)


async def together(saver: AsyncSqliteSaver, *calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """Let the calls wait until all of them do, and return their results and errors."""
    async with saver.lock:
        tasks = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0)
    return await outcomes_of(*tasks)


def write(saver: AsyncSqliteSaver, name: str, size: int = 0) -> Coroutine[Any, Any, None]:
    return saver.aput_writes(here(name), writes(size), "task")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        saver.put(thread("first"), checkpoint(), {}, {})
        saver.put_writes(here("first"), writes(), "task")
    return tmp_path / "store"


# Killed


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Path, float], list[str]]]:
    """Run a writer on a store for some seconds, kill it, and return its journal."""
    journal = tmp_path_factory.mktemp("nursery") / "journal"
    command = [*CHILD, "nursery", str(journal)]
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True, bufsize=1) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def live(kind: str, store: Path, seconds: float) -> list[str]:
            journal.write_text("")
            stdin.write(f"{kind} {store}\n")
            child = int(stdout.readline())
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
            assert stdout.readline() == "dead\n"
            return journal.read_text().splitlines()

        yield live
        stdin.close()


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_writer_killed_at_any_moment_loses_nothing_that_it_acknowledged(
    kind: str, tmp_path: Path, nursery: Callable[[str, Path, float], list[str]]
) -> None:
    chance = random.Random(kind)
    acknowledged = 0
    for number in range(ROUNDS):
        if number % 10 == 0:
            store, journal = tmp_path / f"{number}", list[str]()
        journal += nursery(kind, store, chance.uniform(0.005, 0.1))
        assert_kept(journal, counts(store) if store.exists() else {})
        acknowledged += len(journal)
    assert acknowledged > ROUNDS


def assert_kept(journal: list[str], found: dict[str, tuple[int, int]]) -> None:
    """What was acknowledged is there, what was deleted is not, and no call is there in half."""
    said = defaultdict(set)
    for line in journal:
        event, name = line.split()
        said[name].add(event)
    for name, events in said.items():
        allowed = {(1, 3)} if "writes" in events else {(1, 0), (1, 3)}
        if "deleting" in events:
            allowed = {(0, 0)} if "deleted" in events else {(0, 0), (1, 3)}
        assert found.get(name, (0, 0)) in allowed, (name, events)
    assert {found[name] for name in found.keys() - said.keys()} <= {(1, 0)}


# Full


def room(conn: sqlite3.Connection, pages: int) -> None:
    """Let the file grow by no more than this."""
    used = conn.execute("PRAGMA page_count").fetchone()[0]
    conn.execute(f"PRAGMA max_page_count={used + pages}")


async def test_a_full_disk_refuses_what_does_not_fit_and_no_more(path: Path) -> None:
    sizes = [10, 90_000, 10, 10, 90_000, 10]
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()
        await saver.conn._execute(lambda: room(saver.conn._conn, 20))  # type: ignore[no-untyped-call]
        outcomes = await together(saver, *(write(saver, f"{n}", size) for n, size in enumerate(sizes)))
        assert [str(outcomes[n]) for n in (1, 4)] == ["database or disk is full"] * 2
        assert [outcomes[n] for n in (0, 2, 3, 5)] == [None] * 4
        assert counts(path) == {"first": (1, 3), **{f"{n}": (0, 3) for n in (0, 2, 3, 5)}}
        await saver.conn._execute(lambda: room(saver.conn._conn, 1000))  # type: ignore[no-untyped-call]
        assert await together(saver, *(write(saver, f"{n}", 90_000) for n in range(6))) == [None] * 6
    assert counts(path).keys() == {"first", *"012345"}


def test_a_full_disk_refuses_threads_what_does_not_fit_and_no_more(path: Path) -> None:
    with SqliteSaver.from_conn_string(str(path)) as saver, ThreadPoolExecutor(6) as pool:
        saver.setup()
        room(saver.conn, 20)
        with saver.lock:
            calls = [
                pool.submit(saver.put_writes, here(f"{n}"), writes(90_000 if n % 3 else 10), "task")
                for n in range(6)
            ]
            time.sleep(0.05)
        errors = [call.exception(PATIENCE) for call in calls]
        assert [type(error) for error in errors] == [type(None), *[sqlite3.OperationalError] * 2] * 2
        assert counts(path).keys() == {"first", "0", "3"}
        room(saver.conn, 1000)
        saver.put_writes(here("1"), writes(90_000), "task")
    assert counts(path)["1"] == (0, 3)


def test_writes_that_the_system_refuses_leave_their_neighbours_alone(path: Path) -> None:
    """A limit on the size of files makes the system's own write() fail, in the middle of a COMMIT."""
    done = subprocess.run([*CHILD, "full", path], cwd=ROOT, capture_output=True, check=True, timeout=PATIENCE)
    crowded, roomy = json.loads(done.stdout)
    assert crowded == ["stored", "stored", "OperationalError", "stored", "OperationalError", "stored"]
    assert roomy == ["stored"] * 6
    kept = [f"crowded-{n}" for n in (0, 1, 3, 5)] + [f"roomy-{n}" for n in range(6)]
    assert counts(path) == {"first": (1, 3), **dict.fromkeys(kept, (0, 3))}


# Locked


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the write lock; closing its stdin frees it."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


async def test_a_lock_that_lasts_costs_all_waiting_calls_one_timeout(path: Path) -> None:
    async with aiosqlite.connect(path, timeout=0.3) as conn:
        saver = AsyncSqliteSaver(conn)
        await saver.setup()
        statements: list[str] = []
        await conn.set_trace_callback(statements.append)
        with held(path):
            outcomes = await together(saver, *(write(saver, f"{n}") for n in range(20)))
            assert await saver.aget_tuple(here("first")) is not None
        assert [str(outcome) for outcome in outcomes] == ["database is locked"] * 20
        assert statements.count("BEGIN IMMEDIATE") == 1
        assert counts(path) == {"first": (1, 3)}
        assert await together(saver, *(write(saver, f"{n}") for n in range(20))) == [None] * 20
    assert len(counts(path)) == 21


def test_a_lock_that_lasts_costs_all_waiting_threads_one_timeout(path: Path) -> None:
    statements: list[str] = []
    with closing(sqlite3.connect(path, timeout=0.5, check_same_thread=False)) as conn, held(path):
        saver = SqliteSaver(conn)
        saver.setup()
        conn.set_trace_callback(statements.append)
        with saver.lock, ThreadPoolExecutor(20) as pool:
            calls = [pool.submit(saver.put_writes, here(f"{n}"), writes(), "task") for n in range(20)]
            time.sleep(0.1)
            saver.lock.release()
            errors = [str(call.exception(PATIENCE)) for call in calls]
            saver.lock.acquire()
    assert errors == ["database is locked"] * 20
    assert statements.count("BEGIN IMMEDIATE") <= 3
    assert counts(path) == {"first": (1, 3)}


@pytest.mark.parametrize("journal", ["wal", "delete"])
async def test_a_lock_that_passes_costs_nobody_his_write(path: Path, journal: str) -> None:
    """The first write of a saver may have to prepare the file, and waits like any other."""
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(f"PRAGMA journal_mode={journal}")
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        with held(path) as process:
            calls = [asyncio.create_task(write(saver, f"{n}")) for n in range(20)]
            await asyncio.sleep(0.2)
            assert process.stdin
            process.stdin.close()
            assert await outcomes_of(*calls) == [None] * 20
    assert len(counts(path)) == 21


async def test_a_lock_that_lasts_costs_one_timeout_also_while_the_tables_are_missing(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new")) as conn:
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("CREATE TABLE notes (note)")
    statements: list[str] = []
    async with aiosqlite.connect(tmp_path / "new", timeout=0.2) as conn:
        saver = AsyncSqliteSaver(conn)
        await conn.set_trace_callback(statements.append)
        with held(tmp_path / "new"):
            outcomes = await together(saver, *(write(saver, f"{n}") for n in range(9)))
        assert [str(outcome) for outcome in outcomes] == ["database is locked"] * 9
        await write(saver, "after")
    assert statements.count("BEGIN IMMEDIATE") <= 1 + 2


# Closed

SYNC: dict[str, Callable[[SqliteSaver], Any]] = {
    "setup": lambda saver: (saver.setup(), saver.conn.execute("SELECT 1")),  # it may have nothing to do
    "cursor": lambda saver: saver.cursor().__enter__(),
    "get": lambda saver: saver.get(here("first")),
    "get_tuple": lambda saver: saver.get_tuple(here("first")),
    "list": lambda saver: list(saver.list(None)),
    "put": lambda saver: saver.put(thread("new"), checkpoint(), {}, {}),
    "put_writes": lambda saver: saver.put_writes(here("new"), writes(), "task"),
    "delete_thread": lambda saver: saver.delete_thread("first"),
    "history": lambda saver: saver.get_delta_channel_history(config=here("first"), channels=["a"]),
    "copy_thread": lambda saver: saver.copy_thread("first", "new"),
    "prune": lambda saver: saver.prune(["first"]),
    "delete_for_runs": lambda saver: saver.delete_for_runs(["run"]),
}
ASYNC: dict[str, Callable[[AsyncSqliteSaver], Awaitable[Any]]] = {
    "setup": lambda saver: asyncio.gather(saver.setup(), saver.conn.commit()),
    "aget": lambda saver: saver.aget(here("first")),
    "aget_tuple": lambda saver: saver.aget_tuple(here("first")),
    "alist": lambda saver: anext(aiter(saver.alist(None))),
    "aput": lambda saver: saver.aput(thread("new"), checkpoint(), {}, {}),
    "aput_writes": lambda saver: saver.aput_writes(here("new"), writes(), "task"),
    "adelete_thread": lambda saver: saver.adelete_thread("first"),
    "history": lambda saver: saver.aget_delta_channel_history(config=here("first"), channels=["a"]),
    "acopy_thread": lambda saver: saver.acopy_thread("first", "new"),
    "aprune": lambda saver: saver.aprune(["first"]),
    "adelete_for_runs": lambda saver: saver.adelete_for_runs(["run"]),
}


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("method", SYNC)
def test_a_method_on_a_closed_connection_says_so(path: Path, method: str, used: bool) -> None:
    with SqliteSaver.from_conn_string(str(path)) as saver:
        if used:
            saver.setup()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        SYNC[method](saver)
    assert counts(path) == {"first": (1, 3)}


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("method", ASYNC)
async def test_an_async_method_on_a_closed_connection_says_so(path: Path, method: str, used: bool) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        if used:
            await saver.setup()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ValueError, match=r"no active connection|Connection closed"):
            await ASYNC[method](saver)
    assert counts(path) == {"first": (1, 3)}


async def test_calls_that_wait_when_the_connection_is_closed_say_so(path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()
        async with saver.lock:
            calls = [asyncio.create_task(write(saver, f"{n}")) for n in range(20)]
            calls.append(asyncio.create_task(saver.aget_tuple(here("first"))))
            await asyncio.sleep(0)
            await saver.conn.close()
        outcomes = await outcomes_of(*calls)
    assert {type(outcome) for outcome in outcomes} == {ValueError}
    assert counts(path) == {"first": (1, 3)}


def test_threads_that_wait_when_the_connection_is_closed_say_so(path: Path) -> None:
    with SqliteSaver.from_conn_string(str(path)) as saver, ThreadPoolExecutor(9) as pool:
        saver.setup()
        with saver.lock:
            calls = [pool.submit(saver.put_writes, here(f"{n}"), writes(), "task") for n in range(8)]
            calls.append(pool.submit(saver.get_tuple, here("first")))
            time.sleep(0.05)
            saver.conn.close()
        assert {type(call.exception(PATIENCE)) for call in calls} == {sqlite3.ProgrammingError}
    assert counts(path) == {"first": (1, 3)}


async def test_a_connection_closed_at_any_step_keeps_what_has_returned(path: Path) -> None:
    for steps in range(0, 120, 4):
        async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
            calls = [asyncio.create_task(write(saver, f"{steps}-{n}")) for n in range(8)]
            for _ in range(steps):
                await asyncio.sleep(0)
            await saver.conn.close()
            outcomes = await outcomes_of(*calls)
        assert {type(outcome) for outcome in outcomes} <= {type(None), ValueError, sqlite3.ProgrammingError}
        returned = {f"{steps}-{n}" for n, outcome in enumerate(outcomes) if outcome is None}
        stored = {name for name in counts(path) if name.startswith(f"{steps}-")}
        assert returned == stored


async def test_a_task_cancelled_at_any_step_until_its_saver_is_closed_leaves_no_thread_and_no_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # aiosqlite drops the connection that it was opening. Collecting it closes it, since 3.13 with a warning.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)

    async def use(name: str) -> None:
        async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
            await write(saver, name)

    ended, threads = set(), threading.active_count()
    for steps in range(0, 400, 5):
        task = asyncio.create_task(use(f"{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        ended |= {type(outcome) for outcome in await outcomes_of(task)}
        async with asyncio.timeout(PATIENCE):
            while threading.active_count() > threads:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        with closing(sqlite3.connect(path, timeout=0)) as conn:
            conn.execute("BEGIN EXCLUSIVE")
    gc.collect()
    assert asyncio.CancelledError in ended
    assert set(counts(path).values()) <= {(1, 3), (0, 3)}


# Read-only


def test_a_file_that_may_not_be_written_is_read_and_refuses_writes() -> None:
    """The child gives up root's rights, for whom no file is read-only."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store")
        with SqliteSaver.from_conn_string(str(path)) as saver:
            saver.put(thread("first"), checkpoint(), {}, {})
            saver.conn.execute("PRAGMA journal_mode=DELETE")
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        command = [*CHILD, "read_only", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
        Path(folder).chmod(0o755)
        assert done.returncode == 0, done.stderr
        refused = "attempt to write a readonly database"
        assert done.stdout.splitlines() == ["read", "read", refused, refused, "read", refused]
        assert counts(path) == {"first": (1, 0)}


# All at once


async def test_a_saver_among_everything_at_once_keeps_what_it_acknowledged(path: Path) -> None:
    """Ten seconds of random calls and cancellations, while another process writes with the official saver."""
    kept: set[str] = set()
    gone: set[str] = set()
    command = [*CHILD, "official", str(path)]
    other = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=-1, stdout=-1)
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver, asyncio.timeout(PATIENCE):
        until = time.monotonic() + 10
        lives = asyncio.gather(*(live(saver, random.Random(n), f"{n}", until, kept, gone) for n in range(20)))
        output, _ = await asyncio.gather(read_until(lives, other), lives)
    theirs = output.split()
    assert other.returncode == 0
    found = counts(path)
    assert len(kept) > 100
    assert len(gone) > 10
    assert len(theirs) > 10
    assert {found.get(name) for name in (*kept, *theirs)} == {(1, 3)}
    assert not gone & found.keys()
    assert set(found.values()) <= {(1, 3), (1, 0)}


async def read_until(ended: asyncio.Future[Any], process: asyncio.subprocess.Process) -> str:
    """Collect what the process prints; close its stdin when the future is done."""
    assert process.stdout
    ended.add_done_callback(lambda _: process.stdin and process.stdin.close())
    output = await process.stdout.read()
    await process.wait()
    return output.decode()


async def live(
    saver: AsyncSqliteSaver, chance: random.Random, worker: str, until: float, kept: set[str], gone: set[str]
) -> None:
    for number in range(10**6):
        if time.monotonic() > until:
            return
        name, size = f"{worker}-{number}", chance.choice([0, 100, 5000])
        if not await perhaps(chance, saver.aput(thread(name), checkpoint(size), {}, {})):
            continue
        if await perhaps(chance, saver.aput_writes(here(name), writes(size), "task")):
            found = await saver.aget_tuple(here(name))
            assert found
            assert len(found.pending_writes or ()) == 3
            kept.add(name)
        if name in kept and chance.random() < 0.3:
            kept.remove(name)
            if await perhaps(chance, saver.adelete_thread(name)):
                gone.add(name)
        if chance.random() < 0.1:
            assert len([found async for found in saver.alist(None, limit=5)]) == 5


async def perhaps(chance: random.Random, call: Coroutine[Any, Any, Any]) -> bool:
    """Await the call, or cancel it at some moment; return whether it came to its end."""
    task = asyncio.create_task(call)
    if chance.random() < 0.3:
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        return False
    task.result()
    return True
