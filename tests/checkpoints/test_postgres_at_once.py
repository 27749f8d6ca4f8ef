"""Calls of savers on PostgreSQL at once: each is whole, none is in another's way, and none reads too much."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from backends import POSTGRES
from langgraph.checkpoint.postgres import PostgresSaver as OfficialSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver as OfficialAsyncSaver
from postgres_threads import (
    CALLS,
    KINDS,
    OTHERS,
    Diary,
    PlainDiary,
    Statements,
    aopened,
    ask,
    at,
    busy,
    clone,
    fill,
    live,
    live_on,
    opened,
    outcome,
    putting,
    torn,
    waiting,
)

from checkpoints.errors import ThreadExists, ThreadNotFound

if TYPE_CHECKING:
    from collections.abc import Callable


PATIENCE = 30  # seconds until a test counts as hanging
SECONDS = 1.0  # of calls at once
HALT = """\
CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql
AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
CREATE TRIGGER halt AFTER DELETE ON checkpoints FOR EACH STATEMENT EXECUTE FUNCTION halt()"""
LENGTHEN = (
    """INSERT INTO checkpoints SELECT 'long', '', lpad(n::text, 8, '0'), NULL, NULL, checkpoint ||
        jsonb_build_object('id', lpad(n::text, 8, '0'), 'channel_versions', jsonb_build_object('a', n::text)),
        metadata FROM generate_series(1, 5000) AS n, checkpoints
    WHERE thread_id = 'short' AND checkpoint_id = '00000001'""",
    """INSERT INTO checkpoint_blobs SELECT 'long', '', 'a', n::text, type, blob
    FROM generate_series(1, 5000) AS n, checkpoint_blobs
    WHERE thread_id = 'short' AND channel = 'a' AND version LIKE '%1.5'""",
    """INSERT INTO checkpoint_writes SELECT 'long', '', lpad(n::text, 8, '0'), task_id, idx,
        channel, type, blob FROM generate_series(1, 5000) AS n, checkpoint_writes
    WHERE thread_id = 'short' AND checkpoint_id = '00000001'""",
)
TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
ROWS_READ = """\
SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables) +
    (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)"""


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Begin all calls at once and return what they return or raise."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return outcome(call)

    with ThreadPoolExecutor(len(calls)) as executor:
        return list(executor.map(begin, calls))


# Calls at once


@pytest.mark.parametrize("name", ["prune", "delete_for_runs", "copy_thread"])
def test_a_turn_that_is_saved_between_any_two_statements_is_whole(name: str, url: str) -> None:
    state = PlainDiary if name == "delete_for_runs" else Diary
    with opened(url) as other:
        two = live(other, "diary", 1, 2, state=state)
        three = live(other, "diary of three days", 1, 2, 3, state=state)
        for number in count(1):
            thread_id = f"diary {number}"
            clone(url, "diary", thread_id)
            statements = Statements(number, lambda _: live(other, thread_id, 3, state=state))  # noqa: B023
            with opened(url, cursor_factory=statements.cursors()) as saver:
                CALLS[name].run(saver, thread_id)
            if not statements.reached:
                break
            assert live(other, thread_id, state=state) == three
            if name == "copy_thread":
                assert live(other, f"copy of {thread_id}") in (two, three)
    assert number > 4


def test_a_checkpoint_that_is_saved_while_its_thread_is_deleted_is_whole(database: str) -> None:
    POSTGRES.prepare(database)
    ask(database, HALT)
    with opened(database) as saver, opened(database) as other, ThreadPoolExecutor(1) as executor:
        fill(saver, "t")
        with psycopg.connect(database) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(7)")
            deleted = executor.submit(saver.delete_thread, "t")
            waiting(database)
            fill(other, "t", numbers=range(4, 5))
        deleted.result(PATIENCE)
        assert [found.checkpoint["id"] for found in saver.list(at("t"))] == ["00000004"]
        assert len(saver.get_tuple(at("t")).pending_writes) == 3
    assert not torn(database)


def test_of_two_copies_to_one_target_one_wins(url: str) -> None:
    with opened(url, "pool") as saver:
        fill(saver, "a")
        fill(saver, "b", numbers=range(11, 16))  # other ids: nothing but the saver itself is in the way
        for number in range(10):
            for sources in ("aa", "ab"):
                target = f"{sources} {number}"
                ended = at_once(*(partial(saver.copy_thread, source, target) for source in sources))
                assert sorted(map(type, ended), key=str) == [type(None), ThreadExists]
                assert len(list(saver.list(at(target)))) == {"a": 3, "b": 5}[sources[ended.index(None)]]
    assert not torn(url)


def test_two_prunes_of_one_thread_at_once_leave_what_one_leaves(url: str) -> None:
    with opened(url, "pool") as saver:
        for number in range(10):
            thread_id = f"diary {number}"
            live(saver, thread_id, 1)
            before = live(saver, thread_id, 2)
            assert at_once(*[partial(saver.prune, [thread_id])] * 2) == [None, None]
            assert live(saver, thread_id) == before
            assert live(saver, thread_id, 3)["pages"][-1] == "end 3: yes"


def test_a_prune_that_collides_begins_anew(url: str) -> None:
    with opened(url) as other:
        fill(other, "t")
        statements = Statements(4, lambda _: other.prune(["t"]))
        with opened(url, cursor_factory=statements.cursors()) as saver:
            saver.prune(["t"])
            assert [found.checkpoint["id"] for found in saver.list(at("t"))] == ["00000003"]
    assert sum("REPEATABLE READ" in sql for sql in statements.sent) == 2
    assert not torn(url)


def test_a_thread_that_is_deleted_while_a_checkpoint_is_stored_again_is_no_deadlock(url: str) -> None:
    with opened(url, "pool") as saver, ThreadPoolExecutor(2) as executor:
        fill(saver, "t")
        with psycopg.connect(url) as holder:
            holder.execute("SELECT FROM checkpoint_blobs WHERE channel = 'b' FOR UPDATE")
            deleted = executor.submit(saver.delete_thread, "t")
            waiting(url)
            put = executor.submit(saver.put, *putting("t", 2))
            waiting(url, 2)
        assert deleted.result(PATIENCE) is None
        assert put.result(PATIENCE) == at("t", 2)
    assert not torn(url)


def test_a_thread_is_pruned_while_it_is_written_at_full_speed(url: str) -> None:
    days = range(1, 12)
    with opened(url, "pool") as saver, ThreadPoolExecutor(1) as executor:
        undisturbed = live(saver, "diary alone", *days)
        written = executor.submit(live, saver, "diary", *days)
        prunes = 0
        while not written.done():
            saver.prune(["diary"])
            prunes += 1
        assert written.result() == undisturbed
        assert prunes > len(days)


@pytest.mark.parametrize("kind", ["connection", "pool"])
def test_twenty_threads_share_a_saver_and_their_threads_with_the_official_one(kind: str, url: str) -> None:
    end = time.monotonic() + SECONDS

    def work(worker: int, saver: Any) -> None:
        chance, days = random.Random(worker), count(1)
        while time.monotonic() < end:
            _use(chance, saver, f"t{worker % 4}")
            live(saver, f"diary {worker}", next(days))

    def write(saver: Any) -> None:
        for number in count(5):
            fill(saver, f"t{number % 4}", numbers=range(number, number + 1))
            if time.monotonic() > end:
                return

    with opened(url, kind) as saver, opened(url, build=OfficialSaver) as official:
        with ThreadPoolExecutor(21) as executor:
            calls = [executor.submit(work, worker, saver) for worker in range(20)]
            calls.append(executor.submit(write, official))
            assert [call.exception(PATIENCE) for call in calls] == [None] * 21
        assert not saver.lock.locked()
        assert not busy(url)
        assert not torn(url)
        assert all(_is_whole(live(official, f"diary {worker}")) for worker in range(20))


def _use(chance: random.Random, saver: Any, thread_id: str) -> None:
    name = chance.choice(["put", "put_writes", "delete_thread", "copy_thread", "prune", "get_tuple", "list"])
    target = f"copy of {thread_id} {chance.random()}"
    with suppress(ThreadNotFound):  # deleted by another
        if name == "copy_thread":
            saver.copy_thread(thread_id, target)
        else:
            CALLS[name].run(saver, thread_id)


def _is_whole(state: Any) -> bool:
    """Tell whether every day of a diary has all its pages."""
    days = range(1, state["day"] + 1)
    pages = [
        page
        for day in days
        for page in (f"note {day}", f"letter {day} to Ann", f"letter {day} to Bob", f"end {day}: yes")
    ]
    return bool(state["pages"] == pages and len(state["story"]) == 3 * len(days))


@pytest.mark.parametrize("kind", KINDS)
async def test_fifty_coroutines_share_a_saver_some_are_cancelled(kind: str, url: str) -> None:
    end = time.monotonic() + SECONDS

    async def work(worker: int, saver: Any) -> None:
        chance, days = random.Random(worker), count(1)
        while time.monotonic() < end:
            name = chance.choice(["put", "delete_thread", "prune", "get_tuple", "list", "put_writes"])
            call = asyncio.create_task(CALLS[name].arun(saver, f"t{worker % 4}"))
            await asyncio.sleep(chance.uniform(0, 0.02))
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled() or not call.exception()
            await live_on(saver, f"diary {worker}", next(days))

    async with aopened(url, kind) as saver, aopened(url, build=OfficialAsyncSaver) as official:
        async with asyncio.timeout(PATIENCE + SECONDS):
            await asyncio.gather(*(work(worker, saver) for worker in range(50)))
        assert not saver.lock.locked()
        assert not busy(url)
        assert not torn(url)
        assert all([_is_whole(await live_on(official, f"diary {worker}")) for worker in range(50)])


# Statistics


@pytest.mark.parametrize("plan", ["custom", "generic"])
@pytest.mark.parametrize("analyzed", ["never", "now"])
def test_what_is_asked_of_a_long_thread_reads_no_more_rows_than_it_needs(
    analyzed: str, plan: str, database: str
) -> None:
    POSTGRES.prepare(database)
    ask(
        database,
        "; ".join(f"ANALYZE {table}" for table in TABLES) if analyzed == "when empty" else "SELECT 1",
    )
    with opened(database) as saver:
        fill(saver, "short")
    clone(database, "short", *map(str, range(500)))
    for sql in LENGTHEN:
        ask(database, sql)
    for table in TABLES if analyzed == "now" else ():
        ask(database, f"ANALYZE {table}")
    for call in (
        lambda saver: saver.get_tuple(at("long")),
        lambda saver: saver.get_tuple(at("long", 1_000)),
        lambda saver: list(saver.list(at("long"), limit=20)),
        lambda saver: list(saver.list(at("long"), before=at("long", 1_000), limit=20)),
    ):
        before = rows_read(database)
        with opened(database, options=f"-c plan_cache_mode=force_{plan}_plan") as saver:
            assert call(saver)
        assert 0 < rows_read(database) - before < 500


def rows_read(url: str) -> int:
    """Return how many rows all connections have read that have ended, which tell it at their end."""
    while ask(url, OTHERS):
        time.sleep(0.005)
    return int(ask(url, ROWS_READ)[0][0])
