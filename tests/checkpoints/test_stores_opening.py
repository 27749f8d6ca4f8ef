"""Opening leaves no trace, sees what is there, and names what it refuses."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from stores_data import agent, ask, browse, execute, ids, traces, write

from checkpoints import errors
from checkpoints.stores.sqlite.opening import Fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.stores import Store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An idle WAL file, alone in its folder."""
    (tmp_path / "folder").mkdir()
    return write(tmp_path / "folder" / "agent.sqlite", ["a", "b"])


@pytest.fixture
def crashed(store: Path) -> Path:
    with agent(store, dies=True) as running:
        running.call("only in the log")
    assert store.with_name("agent.sqlite-wal").stat().st_size
    return store


async def test_an_idle_wal_file_is_left_as_it_was(store: Path) -> None:
    before = traces(store.parent)
    assert list(before) == ["agent.sqlite"]
    assert await ask(store, browse) == 2
    assert traces(store.parent) == before


def test_the_control_mode_ro_leaves_files_beside_an_idle_wal_file(store: Path) -> None:
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as conn:
        conn.execute("SELECT count(*) FROM checkpoints").fetchone()
    assert sorted(traces(store.parent)) == ["agent.sqlite", "agent.sqlite-shm", "agent.sqlite-wal"]


async def test_a_rollback_journal_file_is_left_as_it_was(store: Path) -> None:
    execute(store, "PRAGMA journal_mode=DELETE")
    before = traces(store.parent)
    assert await ask(store, browse) == 2
    assert traces(store.parent) == before


async def test_a_dead_writers_log_is_read_and_left_as_it_was(crashed: Path) -> None:
    before = traces(crashed.parent)
    assert len(before) == 3
    assert "only in the log" in await ids(crashed)
    assert traces(crashed.parent) == before


async def test_a_log_without_shared_memory_is_read_and_left_as_it_was(crashed: Path) -> None:
    crashed.with_name("agent.sqlite-shm").unlink()
    before = traces(crashed.parent)
    assert "only in the log" in await ids(crashed)
    assert "only in the log" in await ids(crashed), "the copy serves again"
    assert traces(crashed.parent) == before


async def test_an_agent_that_recovers_its_log_is_seen(crashed: Path) -> None:
    await ids(crashed)
    write(crashed, ["after the crash"])
    assert {"only in the log", "after the crash"} < set(await ids(crashed))


async def test_an_interrupted_transaction_is_undone_in_a_copy(store: Path, tmp_path: Path) -> None:
    execute(store, "PRAGMA journal_mode=DELETE")
    (hot := tmp_path / "hot").mkdir()
    with closing(sqlite3.connect(store, isolation_level=None)) as conn:
        conn.execute("PRAGMA cache_size=1")
        conn.execute("BEGIN")
        conn.execute("UPDATE checkpoints SET checkpoint = zeroblob(99999), thread_id = thread_id || '!'")
        for name in ("agent.sqlite", "agent.sqlite-journal"):
            shutil.copy(store.parent / name, hot / name)
    before = traces(hot)
    assert await ids(hot / "agent.sqlite") == ["b", "a"]
    assert traces(hot) == before


async def test_a_living_agent_is_read_and_keeps_writing(store: Path) -> None:
    with agent(store) as running:
        for turn in range(10):
            running.call(f"turn {turn}")
            assert (await ids(store))[0] == f"turn {turn}"
            running.call("the same thread")
        assert running.end() == 0
    assert list(traces(store.parent)) == ["agent.sqlite"], "the agent could tidy up"


async def test_the_agent_writes_while_a_question_is_open(store: Path) -> None:
    with agent(store) as running:
        running.call("first")

        async def slow(asked: Store) -> list[int]:
            counts = []
            for _ in range(3):
                counts.append(len((await asked.threads()).threads))
                running.call(f"meanwhile {len(counts)}")
            return counts

        assert await ask(store, slow) == [3, 3, 3], "one question sees one state"
    assert len(await ids(store)) == 6


async def test_a_rollback_file_can_be_written_while_a_question_is_open(store: Path) -> None:
    execute(store, "PRAGMA journal_mode=DELETE")

    async def slow(asked: Store) -> int:
        await asked.threads()
        with closing(sqlite3.connect(store, timeout=0)) as conn, conn:
            conn.execute("DELETE FROM checkpoints WHERE thread_id = 'a'")
        return len((await asked.threads()).threads)

    assert await ask(store, slow) == 2, "its writes are left"


async def test_a_question_is_asked_again_when_an_agent_came_and_went(store: Path) -> None:
    seen = []

    async def interrupted(asked: Store) -> list[str]:
        seen.append([row.thread_id for row in (await asked.threads()).threads])
        if len(seen) == 1:
            write(store, ["new"])
        return seen[-1]

    assert await ask(store, interrupted) == ["new", "b", "a"]
    assert len(seen) == 2


async def test_a_replaced_file_is_read_anew(store: Path, tmp_path: Path) -> None:
    seen = []

    async def replaced(asked: Store) -> list[str]:
        seen.append([row.thread_id for row in (await asked.threads()).threads])
        if len(seen) == 1:
            os.replace(write(tmp_path / "other.sqlite", ["other"]), store)
        return seen[-1]

    assert await ask(store, replaced) == ["other"]


async def test_a_file_written_all_the_time_is_busy(store: Path) -> None:
    turns = iter(range(100))

    async def never_alone(asked: Store) -> None:
        write(store, [f"again {next(turns)}"])

    with pytest.raises(errors.StoreBusy):
        await ask(store, never_alone)


@pytest.mark.parametrize("name", ["x?mode=rwc#%20 space", "ünïcode ☃.sqlite", "100%.sqlite", "a&b=c;d'e\"f"])
async def test_any_file_name_is_a_name(tmp_path: Path, name: str) -> None:
    (folder := tmp_path / "folder").mkdir()
    write(tmp_path / "plain.sqlite", ["a"]).rename(folder / name)
    before = traces(folder)
    assert await ids(folder / name) == ["a"]
    assert traces(folder) == before


async def test_a_symlink_is_followed_to_the_log_beside_its_target(store: Path, tmp_path: Path) -> None:
    (link := tmp_path / "link.sqlite").symlink_to(store)
    with agent(store) as running:
        running.call("in the log")
        assert "in the log" in await ids(link)
    assert sorted(os.listdir(tmp_path)) == ["folder", "link.sqlite"]


async def test_reading_keeps_the_locks_of_this_process(store: Path) -> None:
    execute(store, "PRAGMA journal_mode=DELETE")
    with closing(sqlite3.connect(store, isolation_level=None)) as owner:
        owner.execute("BEGIN")
        owner.execute("SELECT count(*) FROM checkpoints").fetchone()
        await ids(store)
        assert not another_process_gets_the_lock(store)
        store.open("rb").close()
        assert another_process_gets_the_lock(store), "the control: closing a descriptor drops them"


def another_process_gets_the_lock(path: Path) -> bool:
    program = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN EXCLUSIVE')"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


async def test_a_fingerprint_of_a_link_sees_the_log_of_its_target(store: Path, tmp_path: Path) -> None:
    (link := tmp_path / "link.sqlite").symlink_to(store)
    with agent(store) as running:
        running.call("first")
        before = Fingerprint.of(str(link))
        running.call("second")
        assert Fingerprint.of(str(link)) != before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_deleted_store_gives_its_disk_space_back(store: Path) -> None:
    assert await ask(store, browse) == 2
    assert str(store) in open_files(), "the control: it is kept open"
    os.unlink(store)
    with pytest.raises(errors.StoreMissing):
        await ask(store, browse)
    assert not [path for path in open_files() if path.startswith(str(store))]


def open_files() -> set[str]:
    """Return what this process has open; the path of a deleted file ends with " (deleted)"."""
    folder = "/proc/self/fd"
    return {os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder) if os.path.lexists(f"{folder}/{fd}")}
