"""Writes that wait together share a transaction: each is durable when it returns, and fails or ends alone."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiosqlite
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from checkpoints.errors import ThreadNotFound
from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator

HERE: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": "0"}}
ROOT = Path(__file__).parents[2]
PATIENCE = 30  # seconds until a test counts as hanging
REFUSING = """
CREATE TRIGGER aborts BEFORE INSERT ON writes WHEN new.channel = 'abort'
BEGIN SELECT RAISE(ABORT, 'refused'); END;
CREATE TRIGGER fails BEFORE INSERT ON writes WHEN new.channel = 'fail'
BEGIN SELECT RAISE(FAIL, 'refused'); END;
CREATE TRIGGER rolls_back BEFORE INSERT ON writes WHEN new.channel = 'rollback'
BEGIN SELECT RAISE(ROLLBACK, 'refused'); END;
CREATE TABLE people (name PRIMARY KEY);
CREATE TABLE pets (owner REFERENCES people DEFERRABLE INITIALLY DEFERRED);
CREATE TRIGGER refuses_commit AFTER INSERT ON writes WHEN new.channel = 'commit'
BEGIN INSERT INTO pets VALUES ('nobody'); END;
"""


class Odd:
    """Fails when it is bound, with an error that is none of SQLite's."""

    def __conform__(self, protocol: object) -> object:
        raise KeyError("odd")


REFUSED: dict[str, tuple[Any, type[Exception]]] = {
    "an object": (object(), sqlite3.Error),
    "a number beyond 64 bits": (2**64, OverflowError),
    "half a character": ("\ud800", UnicodeEncodeError),
    "aborted": ("abort", sqlite3.IntegrityError),
    "failed": ("fail", sqlite3.IntegrityError),
    "rolled back": ("rollback", sqlite3.IntegrityError),
    "refused by COMMIT": ("commit", sqlite3.IntegrityError),
}
ODD = pytest.param((Odd(), KeyError), id="an odd error")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        saver.setup()
        saver.conn.executescript(REFUSING)
    yield tmp_path / "store"
    with closing(sqlite3.connect(tmp_path / "store", timeout=0)) as conn:
        conn.execute("BEGIN EXCLUSIVE")  # nobody kept a lock
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
async def saver(path: Path) -> AsyncIterator[AsyncSqliteSaver]:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()
        await saver.conn.execute("PRAGMA foreign_keys=ON")
        yield saver


def write(saver: AsyncSqliteSaver, name: str, channel: Any = "b") -> Coroutine[Any, Any, None]:
    return saver.aput_writes(HERE, [("a", 1), (channel, 2), ("c", 3)], name)


def put(saver: AsyncSqliteSaver, name: str) -> Coroutine[Any, Any, Any]:
    return saver.aput(HERE, {**empty_checkpoint(), "id": name}, {}, {})


def stored(path: Path) -> dict[str, int]:
    """Return how many writes each task has, as another connection sees them."""
    with closing(sqlite3.connect(path)) as conn:
        return dict(conn.execute("SELECT task_id, count(*) FROM writes GROUP BY task_id"))


async def waiting(saver: AsyncSqliteSaver, *calls: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Start the calls, and return when all of them wait for the lock, which the caller has."""
    assert saver.lock.locked()
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    return tasks


async def together(saver: AsyncSqliteSaver, *calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """Let the calls wait until all of them do, and return their results and errors."""
    async with saver.lock:
        tasks = await waiting(saver, *calls)
    return await outcomes_of(*tasks)


async def outcomes_of(*calls: Awaitable[Any]) -> list[Any]:
    """Return the results and errors of the calls. None of them hangs."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*calls, return_exceptions=True)


@asynccontextmanager
async def traced(saver: AsyncSqliteSaver) -> AsyncIterator[list[str]]:
    """Collect the statements that the connection begins."""
    statements: list[str] = []
    await saver.conn.set_trace_callback(statements.append)
    yield statements


# Sharing


async def test_fifty_coroutines_share_few_commits(path: Path, saver: AsyncSqliteSaver) -> None:
    async with traced(saver) as statements:
        await outcomes_of(*(put(saver, f"{n}") for n in range(50)))
        assert await outcomes_of(*(write(saver, f"task-{n}") for n in range(50))) == [None] * 50
    assert 2 <= statements.count("COMMIT") <= 25
    assert stored(path) == {f"task-{n}": 3 for n in range(50)}
    assert len([found async for found in saver.alist(None)]) == 50


def test_fifty_threads_share_few_commits(path: Path) -> None:
    statements: list[str] = []
    with SqliteSaver.from_conn_string(str(path)) as saver, ThreadPoolExecutor(50) as pool:
        saver.setup()
        saver.conn.set_trace_callback(statements.append)
        with saver.lock:
            calls = [pool.submit(saver.put_writes, HERE, [("a", n)], f"task-{n}x") for n in range(50)]
            time.sleep(0.3)  # most of them wait now
        assert [call.result(PATIENCE) for call in calls] == [None] * 50
    assert 1 <= statements.count("COMMIT") <= 25
    assert stored(path) == {f"task-{n}x": 1 for n in range(50)}


async def test_a_write_that_has_no_company_waits_for_none(path: Path, saver: AsyncSqliteSaver) -> None:
    async with traced(saver) as statements:
        for n in range(5):
            await write(saver, f"task-{n}")
            assert stored(path)[f"task-{n}"] == 3
    assert statements.count("COMMIT") == 5


async def test_savers_with_another_allowlist_share_commits_too(path: Path) -> None:
    async with aiosqlite.connect(path) as conn:
        saver = AsyncSqliteSaver(conn, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        derived: Any = saver.with_allowlist([("decimal", "Decimal")])
        assert derived is not saver
        await saver.setup()
        async with traced(saver) as statements:
            calls = [write(each, f"{n}{id(each)}") for n in range(25) for each in (saver, derived)]
            assert await together(saver, *calls) == [None] * 50
    assert statements.count("COMMIT") <= 25
    assert set(stored(path).values()) == {3}


async def test_a_transaction_ends_in_time_and_the_rest_gets_the_next_ones(
    path: Path, saver: AsyncSqliteSaver
) -> None:
    """Other processes wait for the file meanwhile. Nobody is left out, and all keep their order."""
    statements: list[str] = []

    def slow(sql: str) -> None:
        statements.append(sql)
        time.sleep(0.004 * sql.startswith("INSERT"))

    await saver.conn.set_trace_callback(slow)
    names = [f"{n:02}" for n in range(30)]
    assert await together(saver, *(write(saver, name) for name in names)) == [None] * 30
    assert statements.count("COMMIT") > 2
    assert stored(path) == dict.fromkeys(names, 3)
    with closing(sqlite3.connect(path)) as conn:
        assert [
            name for (name,) in conn.execute("SELECT DISTINCT task_id FROM writes ORDER BY rowid")
        ] == names


async def test_writes_that_share_a_transaction_keep_their_order(path: Path, saver: AsyncSqliteSaver) -> None:
    for _ in range(3):
        calls = [write(saver, "before"), put(saver, "1"), saver.adelete_thread("1"), write(saver, "after")]
        assert [type(result) for result in await together(saver, *calls)][2:] == [type(None)] * 2
        assert stored(path) == {"after": 3}
    assert await saver.aget_tuple(HERE) is None


# Durability


async def test_each_call_returns_after_its_commit(path: Path, saver: AsyncSqliteSaver) -> None:
    async def write_and_look(name: str) -> None:
        await write(saver, name)
        assert stored(path)[name] == 3

    for batch in range(3):
        assert await outcomes_of(*(write_and_look(f"{batch}-{n}") for n in range(50))) == [None] * 50


def test_each_call_of_a_thread_returns_after_its_commit(path: Path) -> None:
    def write_and_look(name: str) -> None:
        saver.put_writes(HERE, [("a", 1), ("b", 2)], name)
        assert stored(path)[name] == 2

    with SqliteSaver.from_conn_string(str(path)) as saver, ThreadPoolExecutor(16) as pool:
        list(pool.map(write_and_look, [f"task-{n}x" for n in range(160)], timeout=PATIENCE))


async def test_nobody_returns_before_the_commit_although_the_leader_was_cancelled(
    path: Path, saver: AsyncSqliteSaver
) -> None:
    """The lock is free then, while the transaction still runs on the connection's thread."""
    async with held_at(saver, "COMMIT") as reached:
        async with saver.lock:
            leader, *followers = await waiting(saver, *(write(saver, f"task-{n}") for n in range(5)))
        await reached()
        leader.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert leader.cancelled()
        assert not any(follower.done() for follower in followers)
        assert stored(path) == {}
    assert await outcomes_of(*followers) == [None] * 4
    assert stored(path).items() >= {f"task-{n}": 3 for n in range(1, 5)}.items()


@asynccontextmanager
async def held_at(saver: AsyncSqliteSaver, word: str) -> AsyncIterator[Any]:
    """Hold the connection's thread at the first statement that begins with the word, while the block runs."""
    reached, free = threading.Event(), threading.Event()

    def hold(sql: str) -> None:
        if sql.startswith(word):
            reached.set()
            free.wait(PATIENCE)

    await saver.conn.set_trace_callback(hold)
    try:
        yield lambda: asyncio.to_thread(reached.wait, PATIENCE)
    finally:
        free.set()


@pytest.mark.parametrize("chosen", [None, "OFF", "NORMAL"])
async def test_how_hard_the_disk_is_asked_is_left_as_it_is(path: Path, chosen: str | None) -> None:
    """SQLite's default is FULL: each commit is synced, so it outlives a power cut."""
    async with aiosqlite.connect(path) as conn:
        if chosen:
            await conn.execute(f"PRAGMA synchronous={chosen}")
        saver = AsyncSqliteSaver(conn)
        await together(saver, *(write(saver, f"task-{n}") for n in range(9)))
        async with conn.execute("PRAGMA synchronous") as cursor:
            assert await cursor.fetchone() == ({None: 2, "OFF": 0, "NORMAL": 1}[chosen],)


def test_the_synchronous_saver_commits_at_full_durability(path: Path) -> None:
    with SqliteSaver.from_conn_string(str(path)) as saver:
        saver.put_writes(HERE, [("a", 1)], "task")
        assert saver.conn.execute("PRAGMA synchronous").fetchone() == (2,)


# Failing


@pytest.mark.parametrize("refused", [*(pytest.param(each, id=name) for name, each in REFUSED.items()), ODD])
async def test_a_write_that_is_refused_fails_alone_wherever_it_waits(
    path: Path, saver: AsyncSqliteSaver, refused: tuple[Any, type[Exception]]
) -> None:
    channel, expected = refused
    for position in range(5):
        channels = [channel if n == position else "b" for n in range(5)]
        calls = [write(saver, f"{position}-{n}", channels[n]) for n in range(5)]
        outcomes = await together(saver, *calls)
        assert isinstance(outcomes.pop(position), expected)
        assert outcomes == [None] * 4
    assert stored(path) == {f"{i}-{n}": 3 for i in range(5) for n in range(5) if i != n}


@pytest.mark.parametrize("refused", [*(pytest.param(each, id=name) for name, each in REFUSED.items()), ODD])
def test_a_thread_whose_write_is_refused_fails_alone(
    path: Path, refused: tuple[Any, type[Exception]]
) -> None:
    channel, expected = refused
    with SqliteSaver.from_conn_string(str(path)) as saver, ThreadPoolExecutor(5) as pool:
        saver.setup()
        saver.conn.execute("PRAGMA foreign_keys=ON")
        with saver.lock:
            calls = []
            for n in range(5):
                writes = [("a", 1), (channel if n == 2 else "b", 2)]
                calls.append(pool.submit(saver.put_writes, HERE, writes, f"task-{n}"))
            time.sleep(0.05)
        errors = [call.exception(PATIENCE) for call in calls]
    assert isinstance(errors.pop(2), expected)
    assert errors == [None] * 4
    assert stored(path) == {f"task-{n}": 2 for n in (0, 1, 3, 4)}


async def test_a_copy_that_is_refused_fails_alone(path: Path, saver: AsyncSqliteSaver) -> None:
    calls = [write(saver, "first"), saver.acopy_thread("no such thread", "new"), write(saver, "last")]
    outcomes = await together(saver, *calls)
    assert [type(outcome) for outcome in outcomes] == [type(None), ThreadNotFound, type(None)]
    assert stored(path) == {"first": 3, "last": 3}


async def test_calls_whose_transaction_was_undone_are_done_once_more_and_no_more(
    path: Path, saver: AsyncSqliteSaver
) -> None:
    await saver.conn.executescript(
        "CREATE TABLE log (id); CREATE TRIGGER logs AFTER INSERT ON checkpoints "
        "BEGIN INSERT INTO log VALUES (new.checkpoint_id); END"
    )
    await together(saver, put(saver, "1"), write(saver, "2", "rollback"), put(saver, "3"), put(saver, "4"))
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("SELECT id FROM log").fetchall() == [("1",), ("3",), ("4",)]


async def test_writes_that_are_refused_together_have_each_their_own_error(
    path: Path, saver: AsyncSqliteSaver
) -> None:
    kinds = [*REFUSED.values(), (None, type(None)), *REFUSED.values()]
    calls = [write(saver, f"task-{n}", channel or "b") for n, (channel, _) in enumerate(kinds)]
    outcomes = await together(saver, *calls)
    for outcome, (_, expected) in zip(outcomes, kinds, strict=True):
        assert isinstance(outcome, expected)
    assert len({id(outcome) for outcome in outcomes}) == len(outcomes)
    assert stored(path) == {"task-7": 3}


async def test_an_error_tells_nothing_of_another_call(saver: AsyncSqliteSaver) -> None:
    outcomes = await together(saver, write(saver, "1", "rollback"), write(saver, "2", "abort"))
    assert [error.__context__ for error in outcomes] == [None, None]


async def test_a_locked_file_gives_each_call_an_error_of_its_own(path: Path) -> None:
    async with aiosqlite.connect(path, timeout=0.2) as conn:
        saver = AsyncSqliteSaver(conn)
        await saver.setup()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            errors = await together(saver, *(write(saver, f"task-{n}") for n in range(9)))
    assert {str(error) for error in errors} == {"database is locked"}
    assert {error.sqlite_errorcode for error in errors} == {sqlite3.SQLITE_BUSY}
    assert len({id(error) for error in errors}) == 9
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in errors}) == 1


async def test_a_transaction_of_the_owner_is_committed_with_a_batch(
    path: Path, saver: AsyncSqliteSaver
) -> None:
    await saver.conn.execute("INSERT INTO people VALUES ('Ada')")
    calls = [write(saver, "first"), write(saver, "refused", "abort"), write(saver, "last")]
    first, refused, last = await together(saver, *calls)
    assert (first, type(refused), last) == (None, sqlite3.IntegrityError, None)
    assert not saver.conn.in_transaction
    assert stored(path) == {"first": 3, "last": 3}
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("SELECT * FROM people").fetchall() == [("Ada",)]


async def test_a_failed_commit_of_the_owner_keeps_nothing_of_ours(
    path: Path, saver: AsyncSqliteSaver
) -> None:
    await saver.conn.execute("INSERT INTO pets VALUES ('Ada')")
    with pytest.raises(sqlite3.IntegrityError):
        await write(saver, "task")
    await saver.conn.execute("INSERT INTO people VALUES ('Ada')")
    await saver.conn.commit()
    assert stored(path) == {}


# Cancelling


@pytest.mark.parametrize("cancelled", [{0}, {2}, {4}, {0, 1, 2, 3, 4}, {0, 2, 4}], ids=str)
async def test_a_call_cancelled_at_any_step_is_stored_whole_or_not_at_all(
    path: Path, saver: AsyncSqliteSaver, cancelled: set[int]
) -> None:
    await saver.conn.set_trace_callback(lambda _: time.sleep(0.00002))  # many steps of the loop in each
    kept, lost = set(), set()
    for steps in range(60):
        async with saver.lock:
            tasks = await waiting(saver, *(write(saver, f"{steps}-{n}") for n in range(5)))
        for _ in range(steps):
            await asyncio.sleep(0)
        for n in cancelled:
            tasks[n].cancel()
        outcomes = await outcomes_of(*tasks)
        kept |= {f"{steps}-{n}" for n in range(5) if outcomes[n] is None}
        lost |= {f"{steps}-{n}" for n in cancelled if isinstance(outcomes[n], asyncio.CancelledError)}
    assert len(kept | lost) == 60 * 5
    assert lost
    await write(saver, "last")
    assert set(stored(path).values()) == {3}
    assert kept <= set(stored(path))


async def test_a_timeout_of_any_length_leaves_whole_calls(path: Path, saver: AsyncSqliteSaver) -> None:
    chance = random.Random(5)
    outcomes: list[Any] = []
    for batch in range(20):
        limits = [chance.uniform(0, 0.004) for _ in range(50)]
        calls = [asyncio.wait_for(write(saver, f"{batch}-{n}"), limit) for n, limit in enumerate(limits)]
        outcomes += await outcomes_of(*calls)
    await write(saver, "last")
    done = {f"{n // 50}-{n % 50}" for n, outcome in enumerate(outcomes) if outcome is None}
    assert {type(outcome) for outcome in outcomes} == {type(None), TimeoutError}
    assert set(stored(path).values()) == {3}
    assert done <= set(stored(path))


async def test_a_call_that_is_cancelled_among_others_before_its_turn_stores_nothing(
    path: Path, saver: AsyncSqliteSaver
) -> None:
    async with saver.lock:
        tasks = await waiting(saver, *(write(saver, f"task-{n}") for n in range(6)))
        for task in tasks[::2]:
            task.cancel()
    await outcomes_of(*tasks)
    assert stored(path) == {f"task-{n}": 3 for n in (1, 3, 5)}


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT", "COMMIT"])
async def test_calls_cancelled_inside_their_transaction_take_nobody_with_them(
    path: Path, saver: AsyncSqliteSaver, statement: str
) -> None:
    async with held_at(saver, statement) as reached:
        async with saver.lock:
            tasks = await waiting(saver, *(write(saver, f"task-{n}") for n in range(6)))
        await reached()
        for task in tasks[::2]:
            task.cancel()
        late = asyncio.create_task(write(saver, "late"))
        await asyncio.sleep(0)
    outcomes = await outcomes_of(*tasks, late)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, type(None)] * 3 + [type(None)]
    assert set(stored(path).values()) == {3}
    assert stored(path).keys() >= {"task-1", "task-3", "task-5", "late"}


async def test_a_call_cancelled_in_a_batch_that_comes_to_nothing_leaves_whole_calls(
    path: Path, saver: AsyncSqliteSaver
) -> None:
    async with held_at(saver, "ROLLBACK") as reached:
        async with saver.lock:
            channels = ["b", "commit", "b", "b"]
            tasks = await waiting(saver, *(write(saver, f"task-{n}", c) for n, c in enumerate(channels)))
        await reached()
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.sleep(0)
    outcomes = await outcomes_of(*tasks)
    assert [type(outcome) for outcome in outcomes[1::2]] == [sqlite3.IntegrityError, type(None)]
    assert set(stored(path).values()) == {3}
    assert {"task-3"} <= stored(path).keys() <= {"task-0", "task-2", "task-3"}


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20, 100])
@pytest.mark.parametrize("locked", [True, False])
def test_a_loop_that_ends_while_calls_wait_leaves_whole_calls(path: Path, locked: bool, steps: int) -> None:
    async def leave() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
            if locked:
                await saver.lock.acquire()
            tasks.extend(asyncio.create_task(write(saver, f"task-{n}")) for n in range(9))
            for _ in range(steps):
                await asyncio.sleep(0)

    tasks: list[asyncio.Task[Any]] = []
    asyncio.run(asyncio.wait_for(leave(), PATIENCE))
    returned = {f"task-{n}" for n, task in enumerate(tasks) if not task.cancelled() and not task.exception()}
    assert set(stored(path).values()) <= {3}
    assert returned <= stored(path).keys()
    assert not (locked and stored(path))


def test_an_interrupt_of_the_leading_thread_leaves_nobody_waiting(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.checkpoints.fault_writers",
        "interrupted",
        str(tmp_path / "store"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE * 2, check=True)
    assert done.stdout.startswith("well until the end")


# Company


async def test_eight_threads_and_fifty_coroutines_share_an_async_saver(
    path: Path, saver: AsyncSqliteSaver
) -> None:
    def work(thread: int) -> None:
        for n in range(20):
            name = f"thread-{thread}-{n}"
            saver.put_writes(HERE, [("a", 1), ("b", 2), ("c", 3)], name)
            assert stored(path)[name] == 3
            saver.get_tuple(HERE)

    threads = [asyncio.to_thread(work, thread) for thread in range(8)]
    assert await outcomes_of(*threads, *(write(saver, f"task-{n}") for n in range(50))) == [None] * 58
    assert list(stored(path).values()) == [3] * (8 * 20 + 50)


async def test_readers_get_their_turn_while_writers_never_stop(path: Path, saver: AsyncSqliteSaver) -> None:
    async def write_on(worker: int) -> None:
        n = 0
        while not read:
            await write(saver, f"{worker}-{n}")
            n += 1

    read = False
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for worker in range(20):
            group.create_task(write_on(worker))
        for _ in range(50):
            await saver.aget_tuple(HERE)
        read = True
    assert len(stored(path)) > 20


def test_a_serializer_may_use_the_saver_that_calls_it(path: Path) -> None:
    class Curious(JsonPlusSerializer):
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            if obj == "look":
                saver.put_writes(HERE, [("a", 1)], "task-of-serializer")
            return super().dumps_typed(obj)

    with SqliteSaver.from_conn_string(str(path)) as saver:
        saver.serde = Curious()
        caller = threading.Thread(
            target=saver.put_writes, args=(HERE, [("a", "look")], "task-of-caller"), daemon=True
        )
        caller.start()
        caller.join(PATIENCE)
        assert not caller.is_alive()
    assert stored(path) == {"task-of-serializer": 1, "task-of-caller": 1}
