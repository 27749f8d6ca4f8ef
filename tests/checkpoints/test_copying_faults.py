"""Copies that are refused, cut off or race: the target has all of the thread or nothing of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from copies import TABLES, execute, kind, official, rows
from stores_data import config, counter, traces, write

from checkpoints.copying import Progress, acopy_thread, copy_thread
from checkpoints.copying.pages import BYTES
from checkpoints.errors import (
    CopyRefused,
    NoCheckpointTables,
    NotWritable,
    StoreBusy,
    StoreError,
    StoreMissing,
    ThreadExists,
    ThreadNotFound,
)
from checkpoints.postgres.operations import RESERVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import Databases

# Copies the thread, and waits in the middle of the step to be killed.
COPY = """
import sys, time
from checkpoints.copying import copy_thread
source, target, at = sys.argv[1:]
def wait(progress):
    if progress.step == at and progress.done.rows > 2:
        print("there", flush=True)
        time.sleep(60)
copy_thread(source, target, "t", progress=wait)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def source(request: pytest.FixtureRequest, tmp_path: Path, postgres: Databases) -> Iterator[str]:
    """A store of either kind with the thread "t" of some checkpoints."""
    if request.param == "sqlite":
        yield filled(str(tmp_path / "source" / "store"))
    else:
        with postgres.database() as url:
            yield filled(url)


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path, postgres: Databases) -> Iterator[str]:
    """A store of either kind with another thread."""
    (tmp_path / "target").mkdir()
    if request.param == "sqlite":
        yield filled(str(tmp_path / "target" / "store"), "another")
    else:
        with postgres.database() as url:
            yield filled(url, "another")


def filled(place: str, thread_id: str = "t") -> str:
    if kind(place) == "sqlite":
        Path(place).parent.mkdir(exist_ok=True)
    with official(place) as saver:
        for _ in range(3):
            counter(saver).invoke({"log": ["a", "b"]}, config(thread_id))
    return place


def everything(place: str) -> dict[str, list[Any]]:
    return {
        table: sorted(execute(place, f"SELECT * FROM {table}"), key=repr) for table in TABLES[kind(place)]
    }


def of(thread_id: str, place: str) -> int:
    return sum(map(len, rows(place, thread_id).values()))


def test_a_target_that_has_the_thread_is_refused_and_not_touched(source: str, target: str) -> None:
    before = everything(target)
    with pytest.raises(ThreadExists, match="There is a thread 'another' already"):
        copy_thread(source, target, "t", "another")
    assert everything(target) == before


@pytest.mark.parametrize("table", ["checkpoints", "writes"])
def test_one_row_is_enough_to_be_refused(table: str, source: str, target: str) -> None:
    table = TABLES[kind(target)][0 if table == "checkpoints" else -1]
    execute(target, f"UPDATE {table} SET thread_id = 'rest'")
    with pytest.raises(ThreadExists):
        copy_thread(source, target, "t", "rest")


@pytest.mark.parametrize("thread_id", ["missing", "", "T", "a\0b", "\udcff"])
def test_a_thread_that_is_not_there_is_not_copied(thread_id: str, source: str, tmp_path: Path) -> None:
    with pytest.raises(ThreadNotFound):
        copy_thread(source, str(tmp_path / "new"), thread_id)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("thread_id", ["", " ", "é'\"\\%s\n", "x" * 2000, "\U0001f600", "a/../b?c#d", "-x"])
def test_any_text_is_a_thread_id(thread_id: str, source: str, target: str) -> None:
    copy_thread(source, target, "t", thread_id)
    copy_thread(target, source, thread_id)
    assert of(thread_id, source) == of("t", source)


def test_a_source_is_read_without_a_trace(tmp_path: Path, database: str) -> None:
    (tmp_path / "source").mkdir()
    path = write(tmp_path / "source" / "store", ["t"])
    before = traces(path.parent)
    copy_thread(str(path), database, "t")
    copy_thread(str(path), str(tmp_path / "new"), "t")
    assert traces(path.parent) == before


def test_a_new_file_is_there_when_it_is_whole_and_not_before(source: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    seen = []
    copy_thread(source, str(folder / "new"), "t", progress=lambda _: seen.append((folder / "new").exists()))
    assert not any(seen)
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert of("t", str(folder / "new")) > 0


def test_a_file_without_tables_is_a_new_one_and_one_of_another_application_is_refused(
    source: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    copy_thread(source, str(tmp_path / "empty"), "t")
    execute(str(tmp_path / "other"), "CREATE TABLE songs (title)")
    with pytest.raises(NoCheckpointTables):
        copy_thread(source, str(tmp_path / "other"), "t")
    with pytest.raises(StoreMissing, match="There is no folder for new"):
        copy_thread(source, str(tmp_path / "missing" / "new"), "t")


def test_a_database_gets_the_tables_of_the_saver_s_setup(source: str, database: str) -> None:
    copy_thread(source, database, "t")
    assert execute(database, "SELECT max(v) FROM checkpoint_migrations") == [(9,)]
    with official(database) as saver:
        assert counter(saver).get_state(config("t")).values["log"] == ["a", "b", "counted"] * 3


def test_a_target_that_only_admits_readers_says_so(source: str, target: str) -> None:
    if kind(target) == "postgres":
        target = f"{target}&options=-cdefault_transaction_read_only%3Don"
    else:
        target = f"{Path(target).parent}/{'x' * 250}"
    with pytest.raises(NotWritable):
        copy_thread(source, target, "t")


def test_of_two_copies_to_one_id_exactly_one_wins(source: str, target: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        copies = [pool.submit(copy_thread, source, target, "t") for _ in range(4)]
        errors = [copy.exception() for copy in copies]
    assert sorted(type(error).__name__ for error in errors) == ["NoneType", *["ThreadExists"] * 3]
    assert of("t", target) == sum(
        size.rows for copy in copies if not copy.exception() for size in copy.result().tables.values()
    )


def test_copies_to_one_new_file_all_come_into_it(tmp_path: Path) -> None:
    path = write(tmp_path / "store", [f"t{n}" for n in range(6)])
    new = str(tmp_path / "new")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: copy_thread(str(path), new, f"t{n}"), range(6)))
    assert everything(new) == everything(str(path))


@pytest.mark.parametrize("step", ["read", "convert", "write"])
def test_a_killed_copy_leaves_nothing_of_the_thread(step: str, source: str, target: str) -> None:
    if step == "convert" and kind(source) == kind(target):
        step = "write"
    before = everything(source), everything(target)
    with killed(source, target, step):
        pass
    assert (everything(source), everything(target)) == before
    copy_thread(source, target, "t")
    assert of("t", target) > 0


@contextmanager
def killed(*arguments: str) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    command = [sys.executable, "-c", COPY, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "there\n"
        yield
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("step", ["read", "convert", "write"])
async def test_a_cancelled_copy_leaves_nothing_of_the_thread(step: str, source: str, target: str) -> None:
    if step == "convert" and kind(source) == kind(target):
        step = "read"
    before = everything(target)

    def wait(progress: Progress) -> None:
        if progress.step == step:
            task.cancel()

    task = asyncio.ensure_future(acopy_thread(source, target, "t", progress=wait))
    try:
        await task
    except asyncio.CancelledError:
        assert everything(target) == before
    else:  # it was complete before the loop heard of it
        assert of("t", target) > 0


async def test_a_copy_that_waits_for_a_lock_can_be_cancelled(source: str, target: str) -> None:
    with locked(target):
        task = asyncio.ensure_future(acopy_thread(source, target, "t"))
        await asyncio.sleep(0.5)
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - begun < 5
    assert of("t", target) == 0


def test_a_copy_waits_for_whoever_has_the_lock(source: str, target: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        with locked(target):
            copy = pool.submit(copy_thread, source, target, "t")
            time.sleep(1)
            assert not copy.done()
        assert copy.result().tables["checkpoints"].rows == 9


@contextmanager
def locked(place: str) -> Iterator[None]:
    """Hold the lock that another writer of the file, or another copy of the thread, holds."""
    if kind(place) == "sqlite":
        with closing(sqlite3.connect(place)) as conn:
            conn.execute("BEGIN IMMEDIATE")
            yield
        return
    with psycopg.connect(place) as conn:
        conn.execute(RESERVE, ("t",))
        yield
        conn.rollback()


def test_a_thread_that_is_written_at_full_speed_is_copied_as_it_was_in_one_moment(
    source: str, target: str
) -> None:
    def linger(progress: Progress) -> None:
        if progress.step == "read":
            time.sleep(0.02)  # between the tables

    with writing(source):
        for n in range(3):
            copy_thread(source, target, "t", f"copy {n}", progress=linger)
    tables = TABLES[kind(target)][0], TABLES[kind(target)][-1]
    counted = [[len(rows(target, f"copy {n}")[table]) for table in tables] for n in range(3)]
    assert counted[0][0] < counted[1][0] < counted[2][0] < len(rows(source, "t")["checkpoints"])
    assert len({checkpoints - writes for checkpoints, writes in counted}) == 1


@contextmanager
def writing(place: str) -> Iterator[None]:
    """Add to the thread as fast as it can be done: a checkpoint and a write at once, over and over."""
    ended = threading.Event()
    table, value = TABLES[kind(place)][-1], "value" if kind(place) == "sqlite" else "blob"
    add_checkpoint = """\
    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint, metadata, type)
    SELECT thread_id, checkpoint_ns, %s, checkpoint, metadata, type FROM checkpoints LIMIT 1"""
    add_write = f"""\
    INSERT INTO {table} (thread_id, checkpoint_id, task_id, idx, channel, type, {value})
    SELECT thread_id, %s, '', 0, channel, type, {value} FROM {table} LIMIT 1"""

    def work() -> None:
        with connected(place) as conn:
            for n in range(20_000):
                for sql in (add_checkpoint, add_write):
                    conn.execute(sql if kind(place) == "postgres" else sql.replace("%s", "?"), (f"~{n:06}",))
                conn.commit()
                if ended.is_set():
                    return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def connected(place: str) -> Any:
    return psycopg.connect(place) if kind(place) == "postgres" else closing(sqlite3.connect(place))


def test_an_agent_that_begins_the_thread_while_it_is_copied_keeps_it_for_itself(
    source: str, target: str
) -> None:
    def begin(progress: Progress) -> None:
        if progress.step == "write" and progress.done.rows == 0:
            with official(target) as saver:
                counter(saver).invoke({"log": ["mine"]}, config("t"))

    with pytest.raises(ThreadExists):
        copy_thread(source, target, "t", progress=begin)
    with official(target) as saver:
        assert counter(saver).get_state(config("t")).values["log"] == ["mine", "counted"]


def test_an_agent_that_begins_the_thread_among_the_rows_of_the_copy_keeps_it(
    source: str, database: str
) -> None:
    filled(database, "another")

    def begin(progress: Progress) -> None:
        if progress.step == "write" and progress.done.rows == 1:
            with official(database) as saver:
                counter(saver).invoke({"log": ["mine"]}, config("t"))

    with pytest.raises(ThreadExists):
        copy_thread(source, database, "t", progress=begin)
    with official(database) as saver:
        assert counter(saver).get_state(config("t")).values["log"] == ["mine", "counted"]


def test_large_rows_are_read_a_few_at_a_time(source: str, tmp_path: Path) -> None:
    big = "randomblob(1000000)" if kind(source) == "sqlite" else "repeat('x', 1000000)::bytea"
    column = "value" if kind(source) == "sqlite" else "blob"
    execute(source, f"UPDATE {TABLES[kind(source)][-1]} SET {column} = {big}")
    seen: list[Progress] = []
    copy_thread(source, str(tmp_path / "new"), "t", progress=seen.append)
    sizes = [now.done.bytes for now in seen if now.step == "read"]
    assert max(sizes) > 9_000_000
    assert max(after - before for before, after in pairwise(sizes)) <= BYTES


def test_a_file_that_is_written_while_it_is_read_without_locks_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "store", ["t"])
    starts: list[int] = []

    def interfere(progress: Progress) -> None:
        if progress.step == "read" and progress.done.rows == 0:
            starts.append(progress.total.rows)
            if len(starts) < 3:
                write(path, ["t"])

    copied = copy_thread(str(path), str(tmp_path / "new"), "t", progress=interfere)
    assert starts == sorted(set(starts))
    assert copied.tables["checkpoints"].rows == 9
    assert everything(str(tmp_path / "new")) == everything(str(path))


def test_a_file_that_never_rests_is_busy(tmp_path: Path) -> None:
    path = write(tmp_path / "store", ["t"])

    def interfere(progress: Progress) -> None:
        if progress.step == "read" and progress.done.rows == 0:
            write(path, ["t"])

    with pytest.raises(StoreBusy, match="written too often"):
        copy_thread(str(path), str(tmp_path / "new"), "t", progress=interfere)


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST"])
def test_a_file_in_rollback_journal_mode_is_copied_and_its_agent_never_waits(
    mode: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "store", ["t"])
    execute(str(path), f"PRAGMA journal_mode={mode}")
    waited: list[float] = []

    def interfere(progress: Progress) -> None:
        if progress.step == "read" and progress.done.rows > 0 and not waited:
            begun = time.monotonic()
            execute(str(path), "UPDATE checkpoints SET metadata = '{}'")
            waited.append(time.monotonic() - begun)

    copy_thread(str(path), str(tmp_path / "new"), "t", progress=interfere)
    assert waited[0] < 1
    assert everything(str(tmp_path / "new")) == everything(str(path))


def test_two_rows_with_one_key_are_refused(tmp_path: Path, database: str) -> None:
    path = str(write(tmp_path / "store", ["t"]))
    columns = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
    for sql in (
        f"CREATE TABLE other ({columns})",
        "INSERT INTO other SELECT * FROM checkpoints",
        "INSERT INTO other SELECT * FROM checkpoints",
        "DROP TABLE checkpoints",
        "ALTER TABLE other RENAME TO checkpoints",
    ):
        execute(path, sql)
    with pytest.raises(CopyRefused):
        copy_thread(path, database, "t")


def test_what_postgresql_itself_refuses_is_named_and_leaves_nothing(tmp_path: Path, database: str) -> None:
    path = str(write(tmp_path / "store", ["t"]))
    execute(path, "UPDATE checkpoints SET metadata = '{\"n\": 1e999999}' WHERE rowid = 1")
    with pytest.raises(CopyRefused, match="cannot hold a value of the thread"):
        copy_thread(path, database, "t")
    assert of("t", database) == 0


def test_errors_name_no_host_user_or_password(tmp_path: Path) -> None:
    path = str(write(tmp_path / "store", ["t"]))
    with pytest.raises(StoreError) as refused:
        copy_thread(path, "postgresql://ana:secret@127.0.0.1:1/agents", "t")
    assert not {"ana", "secret", "127.0.0.1"} & set(str(refused.value).split())
    assert refused.value.__cause__ is None
