"""Lost servers and connections, kills, cancelled calls, calls at once: nothing is half done, all goes on."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from backends import POSTGRES
from langgraph.checkpoint.postgres import PostgresSaver as OfficialSaver
from postgres import Server, server
from postgres_threads import (
    CALLS,
    KINDS,
    OTHERS,
    POOL,
    READING,
    WRITING,
    Statements,
    aopened,
    ask,
    at,
    busy,
    checkpoint,
    clone,
    fill,
    opened,
    outcome,
    putting,
    rows,
    torn,
    versions,
    waiting,
)
from psycopg.pq import PipelineStatus, TransactionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


ROUNDS = 25  # for each saver
TURNS = 15
ROOT = Path(__file__).parents[2]
PATIENCE = 30  # seconds until a test counts as hanging
HELD = "LOCK TABLE checkpoints, checkpoint_blobs, checkpoint_writes IN ACCESS EXCLUSIVE MODE"
WRITES_BY_THREAD = """\
SELECT thread_id, (SELECT count(*) FROM checkpoint_writes WHERE thread_id = checkpoints.thread_id)
FROM checkpoints"""
TERMINATE = "SELECT pg_terminate_backend(%s, 5000)"
# Every call on a connection, those that differ most on a pool and in a pipeline.
SOME = [
    (kind, name)
    for kind in KINDS
    for name in CALLS
    if kind == "connection" or name in {"put", "delete_thread", "copy_thread", "prune", "get_tuple"}
]


# Connections that end


@pytest.mark.parametrize(("kind", "name"), SOME)
def test_a_connection_that_ends_before_any_statement_leaves_nothing_half_done(
    kind: str, name: str, url: str
) -> None:
    with opened(url) as saver:
        fill(saver, "t")
    before = rows(url, "t", "copy of t")
    for number in count(1):
        statements = Statements(number, lambda conn: ask(url, TERMINATE, conn.info.backend_pid))
        with (
            suppress(psycopg.OperationalError),  # of a pipeline that ends
            opened(url, kind, cursor_factory=statements.cursors()) as saver,
        ):
            ended = outcome(lambda: CALLS[name].run(saver, "t"))
            assert not saver.lock.locked()
            if not statements.reached:
                break
            if kind == "pool":
                assert saver.get_tuple(at("t"))
        assert isinstance(ended, psycopg.OperationalError)
        assert rows(url, "t", "copy of t") == before
    assert number > 1
    assert not isinstance(ended, Exception)
    assert (rows(url, "t", "copy of t") == before) is (name in READING)


@pytest.mark.parametrize(("kind", "name"), [each for each in SOME if each[1] in WRITING])
def test_a_connection_that_ends_in_the_middle_of_a_statement_leaves_nothing_half_done(
    kind: str, name: str, url: str
) -> None:
    with opened(url) as saver:
        fill(saver, "t")
    before = rows(url, "t", "copy of t")
    with suppress(psycopg.OperationalError), opened(url, kind) as saver, ThreadPoolExecutor(1) as executor:
        with psycopg.connect(url) as holder:
            holder.execute(HELD)
            call = executor.submit(CALLS[name].run, saver, "t")
            ask(url, TERMINATE, waiting(url))
            assert isinstance(call.exception(PATIENCE), psycopg.OperationalError)
        assert not saver.lock.locked()
        if kind == "pool":
            assert saver.get_tuple(at("t"))
    assert rows(url, "t", "copy of t") == before


@pytest.fixture(scope="module")
def lasting() -> Iterator[Server]:
    """A server to stop, which keeps what it has acknowledged."""
    with server(synchronous_commit="on") as started:
        POSTGRES.prepare(started.url)
        yield started


@pytest.mark.parametrize("at_once", [False, True])
def test_a_pool_goes_on_when_the_server_is_back_and_a_connection_says_that_it_is_lost(
    at_once: bool, lasting: Server
) -> None:
    with opened(lasting.url, "pool") as pooled, opened(lasting.url) as single:
        fill(pooled, f"stopped {at_once}")
        lasting.stop(at_once=at_once)
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError):
                single.get_tuple(at("t"))
        lasting.start()
        for _ in range(POOL["max_size"]):  # a connection that the server has ended fails once
            outcome(lambda: pooled.get_tuple(at("t")))
        fill(pooled, f"started {at_once}")
        with pytest.raises(psycopg.OperationalError):
            single.get_tuple(at("t"))
        assert not single.lock.locked()
    assert not torn(lasting.url)


@pytest.mark.parametrize("at_once", [False, True])
async def test_what_was_acknowledged_is_there_after_the_server_was_stopped(
    at_once: bool, lasting: Server
) -> None:
    stored: list[int] = []

    async def write(saver: Any, worker: int) -> None:
        for number in range(worker, 100_000, 8):
            await saver.aput(*putting(f"kept {at_once}", number + 1))
            stored.append(number + 1)

    async with aopened(lasting.url, "pool") as saver:
        writers = [asyncio.create_task(write(saver, worker)) for worker in range(8)]
        await asyncio.sleep(0.2)
        await asyncio.to_thread(lasting.stop, at_once=at_once)
        errors = await asyncio.wait_for(asyncio.gather(*writers, return_exceptions=True), PATIENCE)
        assert {isinstance(error, psycopg.OperationalError) for error in errors} == {True}
    lasting.start()
    with opened(lasting.url) as saver:
        found = {each.checkpoint["id"] for each in saver.list(at(f"kept {at_once}"))}
    assert {f"{number:08}" for number in stored} <= found
    assert len(stored) > 8
    assert not torn(lasting.url)


# Processes that are killed


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_writer_killed_at_any_moment_leaves_whole_calls_and_all_that_it_acknowledged(
    kind: str, url: str, nursery: Callable[[str, str, float], list[str]]
) -> None:
    chance = random.Random(kind)
    journal = [line for _ in range(ROUNDS) for line in nursery(kind, url, chance.uniform(0.005, 0.06))]
    while ask(url, OTHERS):  # what was sent before the kill
        time.sleep(0.01)
    assert not torn(url)
    counted = dict(ask(url, WRITES_BY_THREAD))
    assert set(counted.values()) <= {0, 3}
    assert all(counted[name] == 3 for event, name in map(str.split, journal) if event == "writes")
    assert counted.keys() >= {name for _, name in map(str.split, journal)}
    assert len(journal) > ROUNDS
    with OfficialSaver.from_conn_string(url) as official:
        for name in counted:
            found = official.get_tuple(at(name))
            assert found
            assert found.checkpoint["channel_values"] == checkpoint(1)["channel_values"]


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str, float], list[str]]]:
    """Run a writer on a database for some seconds, kill it, and return its journal."""
    journal = tmp_path_factory.mktemp("nursery") / "journal"
    command = [sys.executable, "-m", "tests.checkpoints.postgres_writers", str(journal)]
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True, bufsize=1) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def live(kind: str, url: str, seconds: float) -> list[str]:
            journal.write_text("")
            stdin.write(f"{kind} {url}\n")
            child = int(stdout.readline())
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
            assert stdout.readline() == "dead\n"
            return journal.read_text().splitlines()

        yield live
        stdin.close()


# Calls that are cancelled


@pytest.mark.parametrize(("kind", "name"), SOME)
async def test_a_call_cancelled_at_any_turn_of_the_loop_is_done_or_not_begun(
    kind: str, name: str, url: str
) -> None:
    with opened(url) as saver:
        fill(saver, "done")
        clone(url, "done", *map(str, range(TURNS)))
        before = rows(url, "0", "copy of 0")
        CALLS[name].run(saver, "done")
        after = rows(url, "done", "copy of done")
        saver.delete_thread("done")
    cancelled = 0
    async with aopened(url, kind) as saver:
        for turns in range(TURNS):
            await asyncio.sleep(0.02 * (turns % 2))  # psycopg waits otherwise after a pause
            call = asyncio.create_task(CALLS[name].arun(saver, str(turns)))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait_for(asyncio.wait([call]), PATIENCE)
            cancelled += call.cancelled()
            await _assert_clean(saver, kind)
        assert not busy(url)
    assert cancelled
    found = rows(url, *(name for turns in range(TURNS) for name in (str(turns), f"copy of {turns}")))
    each = {_comparable(found[start : start + len(before)]) for start in range(0, len(found), len(before))}
    assert each <= {_comparable(before), _comparable(after)}


def _comparable(found: list[Any]) -> str:
    return re.sub(r"\"run_id\": \"\w+ ", "", repr(found))


async def _assert_clean(saver: Any, kind: str) -> None:
    """The connection is as it was: in no transaction, in a pipeline only if it is the saver's."""
    assert not saver.lock.locked()
    if kind == "pool":
        async with saver.conn.connection() as conn:
            info = conn.info
    else:
        info = saver.conn.info
    assert info.transaction_status == TransactionStatus.IDLE
    assert (info.pipeline_status == PipelineStatus.ON) is (kind == "pipeline")
    assert await saver.aget_tuple(at("done")) is None


@pytest.mark.parametrize(("kind", "name"), SOME)
async def test_a_call_cancelled_while_the_server_works_on_it_is_not_done(
    kind: str, name: str, url: str
) -> None:
    with opened(url) as saver:
        fill(saver, "0")
    before = rows(url, "0", "copy of 0")
    async with aopened(url, kind) as saver:
        with psycopg.connect(url) as holder:
            holder.execute(HELD)
            call = asyncio.create_task(CALLS[name].arun(saver, "0"))
            await asyncio.to_thread(waiting, url)
            call.cancel()
            await asyncio.wait_for(asyncio.wait([call]), PATIENCE)
        assert call.cancelled()
        assert rows(url, "0", "copy of 0") == before
        await _assert_clean(saver, kind)
        assert not busy(url)


# What the database refuses


UNSTORABLE = {
    "metadata that JSON cannot write": (
        TypeError,
        "put",
        (at("t"), checkpoint(9), {"x": object()}, versions(9)),
    ),
    "an id with NUL": (psycopg.DataError, "put", (at("t"), checkpoint(9) | {"id": "9\0"}, {}, versions(9))),
    "a row against a rule": (psycopg.errors.CheckViolation, "put", putting("t", 7)),
    "a NUL in the last of many writes": (
        psycopg.DataError,
        "put_writes",
        (at("t", 3), [*[("a", 1)] * 2_400, ("\0", 1)], "new"),
    ),
    "half a surrogate pair in the last of many writes": (
        UnicodeEncodeError,
        "put_writes",
        (at("t", 3), [*[("a", 1)] * 2_400, ("\ud800", 1)], "new"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", UNSTORABLE)
def test_what_cannot_be_stored_is_refused_and_nothing_of_it_is_there(
    kind: str, name: str, database: str
) -> None:
    POSTGRES.prepare(database)
    ask(database, "ALTER TABLE checkpoints ADD CHECK (checkpoint_id <> '00000007')")
    expected, method, arguments = UNSTORABLE[name]
    with opened(database, kind) as saver:
        fill(saver, "t")
        before = rows(database, "t")
        with pytest.raises(expected):
            getattr(saver, method)(*arguments)
        assert rows(database, "t") == before
        assert not busy(database)
        fill(saver, "t", numbers=range(4, 5))
        assert len(list(saver.list(at("t")))) == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("user", "options", "refusal"),
    [
        ("reader", "", psycopg.errors.InsufficientPrivilege),
        ("postgres", "-c default_transaction_read_only=on", psycopg.errors.ReadOnlySqlTransaction),
    ],
)
def test_who_may_only_read_reads_and_is_told_when_it_writes(
    user: str, options: str, refusal: type[Exception], kind: str, lasting: Server
) -> None:
    _add_reader(lasting.url)
    with opened(lasting.url) as saver:
        saver.delete_thread("t")
        fill(saver, "t")
        everything = [list(saver.list(at("t"))), saver.get_tuple(at("t"))]
    with opened(lasting.url.replace("postgres@", f"{user}@"), kind, options=options) as saver:
        saver.setup()
        assert [READING[name].run(saver, "t") for name in ("list", "get_tuple")] == everything
        for name in WRITING:
            with pytest.raises(refusal):
                WRITING[name].run(saver, "t")
        assert saver.get_tuple(at("t")) == everything[1]


def test_a_role_that_may_not_create_tables_is_told_so(lasting: Server) -> None:
    _add_reader(lasting.url)
    with lasting.database() as url, opened(url.replace("postgres@", "reader@")) as saver:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema"):
            saver.setup()
        assert not saver.lock.locked()


def _add_reader(url: str) -> None:
    if not ask(url, "SELECT 1 FROM pg_roles WHERE rolname = 'reader'"):
        ask(url, "CREATE ROLE reader LOGIN")
        ask(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")


def test_a_standby_is_read_and_says_that_it_cannot_be_written(lasting: Server) -> None:
    with opened(lasting.url) as saver:
        saver.delete_thread("t")
        fill(saver, "t")
        everything = list(saver.list(at("t")))
    standby = Server(lasting.folder / "standby")
    backup = ("-D", str(standby.data), "-R", "-X", "stream", "-c", "fast", "-d", lasting.url)
    assert lasting._run("pg_basebackup", *backup).wait(PATIENCE) == 0
    (standby.data / ".s.PGSQL.5432.lock").unlink()  # the primary's
    standby.start()
    try:
        with opened(standby.url) as saver:
            saver.setup()
            assert list(saver.list(at("t"))) == everything
            for name in WRITING:
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    WRITING[name].run(saver, "t")
    finally:
        standby.stop(at_once=True)
