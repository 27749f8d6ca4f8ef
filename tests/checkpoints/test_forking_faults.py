"""Forks while others write, are killed, keep locks or fill the disk: all of a fork or nothing of it."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from backends import IN_POSTGRES, IN_SQLITE
from graphs import joining
from test_forking import address
from thread_graphs import Threads, thread

from checkpoints.errors import (
    CheckpointChanged,
    NoRoomForCopy,
    NotWritable,
    StoreBusy,
    StoreMissing,
)
from checkpoints.forking import fork, fork_thread
from checkpoints.splicing.seals import Seal
from checkpoints.stores.forks import put_in_place
from checkpoints.stores.location import Location
from checkpoints.stores.writing import writing

ROUNDS = 12
SECONDS = 2.0
# Forks without end, to be killed in the middle of one.
FORKS = """
import sys
from itertools import count
from checkpoints.forking import fork, fork_thread
place, worker = sys.argv[1:]
print("ready", flush=True)
for n in count():
    fork_thread(place, "trip, done", f"fork {worker} {n}")
    fork(place, f"fork {worker} {n}", values={"extra": "x" * 5000})
    print("made", flush=True)
"""
FULL = """
import resource, signal, sys, os
from checkpoints.errors import NoRoomForCopy
from checkpoints.forking import fork_thread
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = os.path.getsize(sys.argv[1]) + 30_000
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    for n in range(2000):
        fork_thread(sys.argv[1], "trip, done", f"full {n}")
except NoRoomForCopy as error:
    print(error)
"""


def run(program: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def forked_threads(threads: Threads) -> dict[str, int]:
    """Return the threads that forks have made, with the number of their rows."""
    tables = ["checkpoints", "writes"]
    if threads.backend.name == "postgres":
        tables = ["checkpoints", "checkpoint_writes", "checkpoint_blobs"]
    found: dict[str, int] = {}
    for table in tables:
        sql = f"SELECT thread_id, count(*) FROM {table} WHERE thread_id LIKE 'fork %' GROUP BY 1"
        for name, count in threads.execute(sql):
            found[name] = found.get(name, 0) + count
    return found


def test_a_killed_fork_is_there_as_a_whole_or_not_at_all(threads: Threads) -> None:
    whole = sum(map(len, threads.rows("trip, done")))
    made = killed = 0
    for number in range(ROUNDS if threads.backend.name == "sqlite" else 4):
        with run(FORKS, threads.place, str(number)) as process:
            assert process.stdout
            for _ in range(random.randint(1, 4)):
                assert process.stdout.readline() in ("ready\n", "made\n")
                made += 1
            time.sleep(random.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        made, killed = made - 1, killed + 1  # the first line is said before any fork
    found = forked_threads(threads)
    assert len(found) >= made
    # The last of each killed process may lack the fork in place, which is a checkpoint and in PostgreSQL a
    # value beside it or none, as it is plain.
    assert set(found.values()) <= {whole, whole + 1}
    assert list(found.values()).count(whole) <= killed
    if threads.backend.name == "sqlite":
        assert threads.execute("PRAGMA integrity_check") == [("ok",)]


@IN_SQLITE
def test_a_full_disk_is_said_and_nothing_of_the_fork_is_there(threads: Threads) -> None:
    with closing(sqlite3.connect(threads.place)) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    process = run(FULL, threads.place)
    told, _ = process.communicate(timeout=60)
    assert "could not be written to its disk. It may be full. Free some, then try again." in told
    whole = [len(part) for part in threads.rows("trip, done")]
    names = [
        name for (name,) in threads.execute("SELECT DISTINCT thread_id FROM checkpoints") if "full" in name
    ]
    assert len(names) < 2000
    assert all([len(part) for part in threads.rows(name)] == whole for name in names)
    assert threads.execute("PRAGMA integrity_check") == [("ok",)]


@IN_SQLITE
def test_what_does_not_fit_is_said_and_what_fits_is_forked(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(pages,)] = threads.execute("PRAGMA page_count")
    limit = f"PRAGMA max_page_count={pages + 5}"
    monkeypatch.setattr("checkpoints.stores.sqlite.writing.SETTINGS", (limit,))
    before = threads.everything()
    for _ in range(2):
        with pytest.raises(NoRoomForCopy, match="has no room left on its disk"):
            fork_thread(threads.place, "trip, done", "fork 1")
        assert threads.everything() == before
    assert fork(threads.place, "interrupt")


def test_an_agent_that_writes_and_forks_do_not_fail_each_other(threads: Threads) -> None:
    graph, until = joining(threads.official), time.monotonic() + SECONDS
    graph.invoke({"log": []}, thread("busy"))

    def agent() -> int:
        runs = 0
        while time.monotonic() < until:
            graph.invoke({"log": ["more"]}, thread("busy"))
            runs += 1
        return runs

    def forking() -> list[str]:
        made = []
        while time.monotonic() < until:
            fork(threads.place, "busy")
            made.append(f"fork of busy {threading.get_ident()} {len(made)}")
            fork_thread(threads.place, "busy", made[-1])
        return made

    with ThreadPoolExecutor(3) as pool:
        running, *forks = pool.submit(agent), pool.submit(forking), pool.submit(forking)
        assert running.result() > 3
        made = [name for each in forks for name in each.result()]
    assert len(made) > 6
    for name in made[:: max(len(made) // 10, 1)]:
        checkpoints = {row[1]: row[2] for row in threads.rows(name).checkpoints}
        assert all(parent is None or parent in checkpoints for parent in checkpoints.values())
        assert graph.get_state(thread(name)).values["log"] is not None
    fork(threads.place, "busy")
    assert graph.invoke({"log": ["last"]}, thread("busy"))["log"][-4:] == ["a", "b1", "b2", "join"]


def test_forks_at_once_each_get_a_place_of_their_own(threads: Threads) -> None:
    with ThreadPoolExecutor(8) as pool:
        forks = list(pool.map(lambda _: fork(threads.place, "interrupt").checkpoint_id, range(24)))
    assert len(set(forks)) == 24
    assert threads.official.get_tuple(address("interrupt")).checkpoint["id"] == max(forks)


@pytest.mark.parametrize("change", ["UPDATE checkpoints SET metadata = '{}'", "DELETE FROM checkpoints"])
def test_what_changes_under_a_fork_s_hands_refuses_it(change: str, threads: Threads) -> None:
    head = threads.official.get_tuple(address("interrupt")).checkpoint["id"]
    with writing(Location.parse(threads.place)) as writer:
        forks = forks_of(threads, writer)
        source = writer.run(forks.source("interrupt", "", head, ()))
        draft = forks.draft(source, {}, {}, Seal())
        threads.execute(f"{change} WHERE thread_id = 'interrupt' AND checkpoint_id = ?", head)
        before = threads.everything()
        with pytest.raises(CheckpointChanged):
            writer.transact(lambda: put_in_place(forks, "interrupt", "", draft))
    assert threads.everything() == before


def test_what_is_deleted_under_a_copy_s_hands_refuses_it(threads: Threads) -> None:
    from checkpoints.stores.forks import measured, put_in_new_thread

    with writing(Location.parse(threads.place)) as writer:
        forks = forks_of(threads, writer)
        head = threads.official.get_tuple(address("joined")).checkpoint["id"]
        found, sizes = writer.run(measured(forks, "joined", "", head))
        writer.run(forks.stage(found))
        first = min(row[1] for row in threads.rows("joined").checkpoints)
        threads.execute("DELETE FROM checkpoints WHERE thread_id = 'joined' AND checkpoint_id = ?", first)
        with pytest.raises(CheckpointChanged, match="have been deleted meanwhile"):
            writer.transact(lambda: put_in_new_thread(forks, "joined", found, sizes, "fork of joined"))
    assert forked_threads(threads) == {}


def forks_of(threads: Threads, writer: Any) -> Any:
    if threads.backend.name == "sqlite":
        from checkpoints.stores.sqlite.forks import SqliteForks

        return SqliteForks(writer.schema)
    from checkpoints.stores.postgres.forks import PostgresForks

    return PostgresForks(writer.schema)


@IN_SQLITE
def test_a_file_that_stays_locked_is_said_to_be_busy(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkpoints.stores.sqlite.writing.WAIT", 0.2)
    with closing(sqlite3.connect(threads.place, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for attempt in (
            lambda: fork(threads.place, "trip"),
            lambda: fork_thread(threads.place, "trip", "fork 1"),
        ):
            with pytest.raises(StoreBusy, match="kept locked by another writer"):
                attempt()
    assert fork(threads.place, "trip")


@IN_POSTGRES
def test_a_thread_that_stays_locked_is_said_to_be_busy(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkpoints.stores.postgres.writing.BEGIN", "SET LOCAL lock_timeout = '200ms'")
    with psycopg.connect(threads.place) as other:
        other.execute("LOCK checkpoints IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreBusy):
            fork(threads.place, "trip")
    assert fork(threads.place, "trip")


@IN_SQLITE
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_file_keeps_its_journal_mode_and_its_tables(mode: str, threads: Threads) -> None:
    threads.execute(f"PRAGMA journal_mode={mode}")
    threads.execute("ALTER TABLE writes DROP COLUMN task_path")
    tables = threads.execute("SELECT name, sql FROM sqlite_master ORDER BY 1")
    fork(threads.place, "trip")
    fork_thread(threads.place, "trip", "fork 1")
    assert threads.execute("SELECT name, sql FROM sqlite_master ORDER BY 1") == tables
    assert threads.execute("PRAGMA journal_mode") == [(mode,)]
    assert not [path.name for path in Path(threads.place).parent.iterdir() if "journal" in path.name]


def test_no_store_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        fork(str(tmp_path / "missing"), "t")
    assert list(tmp_path.iterdir()) == []


@IN_SQLITE
def test_a_file_that_may_not_be_written_says_so(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    threads.ours.conn.close()
    allowed = os.access
    for path, told in (
        (threads.place, "This user may not write to"),
        (str(Path(threads.place).parent), "This user may not write to the folder of"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(os, "access", lambda at, mode, path=path: at != path and allowed(at, mode))
            with pytest.raises(NotWritable, match=told):
                fork(threads.place, "trip")


@IN_POSTGRES
def test_a_role_that_may_only_read_says_so(threads: Threads) -> None:
    threads.execute("CREATE ROLE forks_reader LOGIN")
    threads.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO forks_reader")
    try:
        reader = threads.place.replace("postgres@", "forks_reader@")
        with pytest.raises(NotWritable, match="may only read"):
            fork(reader, "trip")
        with pytest.raises(NotWritable, match="are read-only"):
            fork(f"{threads.place}&options=-cdefault_transaction_read_only%3Don", "trip")
    finally:
        threads.execute("DROP OWNED BY forks_reader")
        threads.execute("DROP ROLE forks_reader")
