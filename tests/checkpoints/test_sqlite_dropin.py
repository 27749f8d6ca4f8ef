"""What somebody who swaps the official savers for ours may rely on, beyond the documented calls."""

from __future__ import annotations

import asyncio
import gc
import shutil
import sqlite3
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSaver
from saver_graphs import thread, travel

from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": "0"}}
TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")


@pytest.mark.parametrize(
    ("ours", "official"), [(SqliteSaver, OfficialSaver), (AsyncSqliteSaver, OfficialAsyncSaver)]
)
def test_annotations_can_be_read_at_run_time(ours: Any, official: Any) -> None:
    names = [name for name in vars(official) if not name.startswith("_") and callable(vars(official)[name])]
    hints = {name: get_type_hints(getattr(ours, name)) for name in names}
    assert hints["put_writes"].keys() == get_type_hints(official.put_writes).keys()
    assert hints["get_tuple"]["return"] == CheckpointTuple | None
    assert {"lock", "is_setup"} & get_type_hints(official).keys() <= get_type_hints(ours).keys()


def test_the_owner_of_the_connection_may_have_texts_as_bytes(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store")) as conn:
        SqliteSaver(conn).setup()
        conn.text_factory = bytes
        SqliteSaver(conn).put_writes(HERE, [("a", 1)], "task")
        assert conn.execute("SELECT count(*) FROM writes").fetchone() == (1,)


@pytest.mark.parametrize("factory", [sqlite3.Row, lambda cursor, row: {"row": row}], ids=["Row", "dict"])
def test_the_owner_of_the_connection_may_have_rows_of_another_kind(trips: Path, factory: Any) -> None:
    with closing(sqlite3.connect(trips)) as conn, closing(sqlite3.connect(trips)) as plain:
        conn.row_factory = factory
        expected = list(SqliteSaver(plain).list(None))
        saver = SqliteSaver(conn)
        assert list(saver.list(None)) == expected
        assert saver.get_tuple(expected[0].config) == expected[0]
        saver.setup()
        assert conn.row_factory is factory


@pytest.mark.parametrize("limit", [2.5, float("0.1")])
def test_a_limit_that_is_no_whole_number_is_refused(trips: Path, limit: Any) -> None:
    with SqliteSaver.from_conn_string(str(trips)) as saver:
        with pytest.raises(ValueError, match="whole number"):
            list(saver.list(None, limit=limit))
        assert saver.get_tuple(thread("booked"))
        assert len(list(saver.list(None, limit=2.0))) == 2  # type: ignore[arg-type]


def test_savers_that_share_a_connection_in_threads_lose_nothing(tmp_path: Path) -> None:
    """A saver for each request over one connection is wrong officially too, and common."""
    with closing(sqlite3.connect(tmp_path / "store", check_same_thread=False)) as conn:
        begin = threading.Barrier(4)

        def write(name: str) -> None:
            begin.wait()
            for n in range(50):
                SqliteSaver(conn).put_writes(HERE, [("a", n)], f"{name}-{n}")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, "abcd"))
        assert conn.execute("SELECT count(*) FROM writes").fetchone() == (200,)


def test_each_connection_has_a_lock_of_its_own(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "1")) as one, closing(sqlite3.connect(tmp_path / "2")) as two:
        first, second, other = SqliteSaver(one), SqliteSaver(one), SqliteSaver(two)
        assert first.lock is second.lock is not other.lock


def test_a_saver_that_is_given_another_connection_writes_there(tmp_path: Path) -> None:
    with (
        closing(sqlite3.connect(tmp_path / "a", check_same_thread=False)) as a,
        closing(sqlite3.connect(tmp_path / "b", check_same_thread=False)) as b,
        ThreadPoolExecutor(2) as pool,
    ):
        stays, moves = SqliteSaver(a), SqliteSaver(a)
        moves.conn = b
        with stays.lock:
            calls = [pool.submit(saver.put_writes, HERE, [("a", 1)], "task") for saver in (stays, moves)]
            time.sleep(0.05)
        for call in calls:
            call.result()
        assert [conn.execute("SELECT count(*) FROM writes").fetchone() for conn in (a, b)] == [(1,), (1,)]


def test_savers_of_connections_that_follow_one_another_share_nothing(tmp_path: Path) -> None:
    saver = SqliteSaver(sqlite3.connect(tmp_path / "0"))
    for n in range(1, 50):
        saver.conn.close()
        saver.conn = sqlite3.connect(tmp_path / str(n))  # may get the id of the one before
        with closing(sqlite3.connect(tmp_path / "other")) as conn:
            assert SqliteSaver(conn).lock is not saver.lock
    saver.conn.close()


def test_an_error_keeps_nothing_when_its_caller_is_done_with_it(tmp_path: Path) -> None:
    """A failed call's rows may be megabytes: they must not wait for the garbage collector."""
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        saver.setup()
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(sqlite3.Error) as caught:
                saver.put_writes(HERE, [(Channel(), 1)], "task")  # type: ignore[list-item]
            del caught
            assert Channel.alive == 0
        finally:
            gc.enable()


class Channel:
    """No name of a channel: SQLite cannot store it."""

    alive = 0

    def __init__(self) -> None:
        Channel.alive += 1

    def __del__(self) -> None:
        Channel.alive -= 1

    def __hash__(self) -> int:
        return 1


ORPHANS = """\
WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
INSERT INTO writes SELECT '1', '', '1', n, '', 0, 'a', 'bytes', zeroblob(20000) FROM n"""


def test_listing_reads_no_writes_whose_checkpoint_is_gone(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        for id in ("0", "2"):
            config: Any = {"configurable": {**HERE["configurable"], "checkpoint_id": id}}
            saver.put(config, {**empty_checkpoint(), "id": id}, {}, {})
            saver.put_writes(config, [("a", id)], "task")
        saver.conn.execute(ORPHANS)
        tracemalloc.start()
        found = list(saver.list({"configurable": {"thread_id": "1", "checkpoint_ns": ""}}))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert [each.pending_writes for each in found] == [[("task", "a", "2")], [("task", "a", "0")]]
    assert peak < 2 * 2**20  # of 20


class Tenants(JsonPlusSerializer):
    """A serializer with a key for each tenant."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        seen.append(TENANT.get())
        return super().loads_typed(data)


seen: list[str] = []


@pytest.fixture
def copy(trips: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(trips, tmp_path / "copy"))


async def test_a_serializer_sees_the_context_of_its_caller(copy: Path) -> None:
    seen.clear()
    async with AsyncSqliteSaver.from_conn_string(str(copy)) as saver:
        saver.serde = Tenants()
        TENANT.set("somebody")
        await saver.aget_delta_channel_history(config=thread("booked"), channels=["log"])
        head = await saver.aget_tuple(thread("booked"))
        async with saver.lock:  # pruned in one transaction with a write of somebody else
            TENANT.set("another")
            write = asyncio.create_task(saver.aput(HERE, empty_checkpoint(), {}, {}))
            await asyncio.sleep(0)
            TENANT.set("somebody")
            prune = asyncio.create_task(saver.aprune(["booked"]))
            await asyncio.sleep(0)
        await asyncio.gather(write, prune)
    assert head
    assert len(seen) > 4
    assert set(seen) == {"somebody"}


class Hidden(AsyncSqliteSaver):
    """Hides threads of others, as a subclass may."""

    async def alist(self, *args: Any, **kwargs: Any) -> AsyncIterator[CheckpointTuple]:
        async for found in super().alist(*args, **kwargs):
            if found.config["configurable"]["thread_id"] == "booked":
                yield found


async def test_a_subclass_that_changes_alist_changes_list(trips: Path) -> None:
    async with Hidden.from_conn_string(str(trips)) as saver:
        found = await asyncio.to_thread(lambda: list(saver.list(None)))
        assert found == [found async for found in saver.alist(None)]
    assert {each.config["configurable"]["thread_id"] for each in found} == {"booked"}


def test_setup_again_inside_a_cursor_does_not_wait_for_itself(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        saver.setup()
        with saver.cursor():
            saver.setup()


def test_tables_without_namespaces_are_not_migrated(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old")) as conn:
        conn.execute("CREATE TABLE checkpoints (thread_id, thread_ts, parent_ts, checkpoint, metadata)")
        saver = SqliteSaver(conn)
        with pytest.raises(sqlite3.OperationalError, match="no column named checkpoint_ns"):
            saver.put(HERE, empty_checkpoint(), {}, {})


def test_a_connection_that_commits_by_itself_stores_what_we_put(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as conn:
        saver = SqliteSaver(conn)
        saver.setup()
        conn.execute("BEGIN")
        travel(saver)
        assert not conn.in_transaction
    with OfficialSaver.from_conn_string(str(path)) as saver:
        assert saver.get_tuple(thread("booked"))
