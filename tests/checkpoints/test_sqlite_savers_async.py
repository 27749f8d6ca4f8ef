"""The async saver between the loop and other threads, and inside its own listings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from saver_graphs import dump, plain, thread, travel

from checkpoints.saver.listing import PAGE_BYTES, Listing
from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver
from checkpoints.sqlite.driver import run
from checkpoints.sqlite.listing import FIRST_CHECKPOINTS, SqliteSearch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HERE: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": "0"}}
SYNCHRONOUS: dict[str, Callable[[AsyncSqliteSaver], Any]] = {
    "get": lambda saver: saver.get(HERE),
    "get_tuple": lambda saver: saver.get_tuple(HERE),
    "list": lambda saver: saver.list(HERE),
    "put": lambda saver: saver.put(HERE, empty_checkpoint(), {}, {}),
    "put_writes": lambda saver: saver.put_writes(HERE, [("a", 1)], "task"),
    "delete_thread": lambda saver: saver.delete_thread("1"),
    "history": lambda saver: saver.get_delta_channel_history(config=HERE, channels=["log"]),
    "history of no channel": lambda saver: saver.get_delta_channel_history(config=HERE, channels=[]),
}


@pytest.mark.parametrize("call", SYNCHRONOUS.values(), ids=SYNCHRONOUS)
async def test_a_synchronous_call_on_the_loop_is_refused(call: Callable[[AsyncSqliteSaver], Any]) -> None:
    async with AsyncSqliteSaver.from_conn_string(":memory:") as saver:
        with pytest.raises(asyncio.InvalidStateError, match="await"):
            call(saver)


@pytest.mark.parametrize("call", SYNCHRONOUS.values(), ids=SYNCHRONOUS)
async def test_a_synchronous_call_from_another_thread_works(call: Callable[[AsyncSqliteSaver], Any]) -> None:
    async with AsyncSqliteSaver.from_conn_string(":memory:") as saver:
        found = await asyncio.wait_for(asyncio.to_thread(call, saver), 10)
    with SqliteSaver.from_conn_string(":memory:") as saver_in_sync:
        assert type(found) is type(call(saver_in_sync))


async def test_a_synchronous_run_on_another_thread_leaves_the_official_rows(
    tmp_path: Path, trips: Path
) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "ours")) as saver:
        states = await asyncio.to_thread(travel, saver)
        listed = await asyncio.to_thread(lambda: list(saver.list(None, limit=9)))
    assert dump(tmp_path / "ours") == dump(trips)
    with OfficialSaver.from_conn_string(str(tmp_path / "ours")) as official:
        assert listed == list(official.list(None, limit=9))
    with OfficialSaver.from_conn_string(":memory:") as official:
        assert plain(states) == plain(travel(official))


def test_a_synchronous_call_after_the_loop_has_ended_is_refused() -> None:
    async def open_saver() -> AsyncSqliteSaver:
        async with AsyncSqliteSaver.from_conn_string(":memory:") as saver:
            return saver

    saver = asyncio.run(open_saver())
    with pytest.raises(asyncio.InvalidStateError):
        saver.get_tuple(HERE)


async def test_a_loop_over_a_listing_may_use_the_saver(trips: Path) -> None:
    async def walk(saver: AsyncSqliteSaver) -> int:
        found = 0
        async for outer in saver.alist(thread("booked")):
            assert await saver.aget_tuple(outer.config) == outer
            found += len([inner async for inner in saver.alist(None, limit=3)])
        return found

    async with AsyncSqliteSaver.from_conn_string(str(trips)) as saver:
        assert await asyncio.wait_for(walk(saver), 10) > 3


async def test_a_listing_that_is_left_holds_nothing(trips: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(trips)) as saver:
        listing = saver.alist(None)
        await anext(listing)
        assert not saver.lock.locked()
        assert not saver.conn.in_transaction


def test_a_loop_over_a_listing_may_delete_what_it_finds(tmp_path: Path) -> None:
    """What is deleted meanwhile is left out, also when a whole page is gone."""
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        saver.conn.execute("PRAGMA synchronous=OFF")
        for n in range(700):
            saver.put(HERE, {**empty_checkpoint(), "id": f"{n:03}"}, {}, {})
        listing = saver.list(None)
        first = next(listing)
        saver.conn.execute("DELETE FROM checkpoints WHERE checkpoint_id BETWEEN '100' AND '650'")
        saver.conn.commit()
        ids = [found.checkpoint["id"] for found in (first, *listing)]
    assert ids[:64] == [f"{n:03}" for n in range(699, 635, -1)]
    assert ids[-100:] == [f"{n:03}" for n in range(99, -1, -1)]
    assert len(ids) == 64 + 100


async def test_a_listing_while_checkpoints_arrive_is_the_one_of_its_beginning(tmp_path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        for n in range(200):
            await saver.aput(HERE, {**empty_checkpoint(), "id": f"{n:03}"}, {}, {})
        ids = []
        async for found in saver.alist(thread("1")):
            ids.append(found.checkpoint["id"])
            await saver.aput(HERE, {**empty_checkpoint(), "id": f"x{len(ids)}"}, {}, {})
    assert ids == [f"{n:03}" for n in range(199, -1, -1)]


def test_a_page_of_large_checkpoints_is_a_short_one(tmp_path: Path) -> None:
    """A listing holds one page of undecoded rows, so a page is bounded in bytes too."""
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        saver.conn.execute("PRAGMA synchronous=OFF")
        for n in range(30):
            checkpoint = {
                **empty_checkpoint(),
                "id": f"{n:03}",
                "channel_values": {"a": "x" * (PAGE_BYTES // 8)},
            }
            saver.put(HERE, checkpoint, {}, {})
        page = run(saver.conn, Listing(SqliteSearch(None, None, None)).page())
        assert len(page) == FIRST_CHECKPOINTS
        assert [found.checkpoint["id"] for found in saver.list(None)] == [
            f"{n:03}" for n in range(29, -1, -1)
        ]
