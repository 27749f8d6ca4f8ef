"""The public conformance suite for savers, and what it does not notice."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from graphs import Order, Point
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.conformance.initializer import RegisteredCheckpointer
from langgraph.checkpoint.conformance.validate import validate
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSaver
from thread_graphs import SHAPES, thread

from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

CAPABILITIES = (
    "put",
    "put_writes",
    "get_tuple",
    "list",
    "delete_thread",
    "delete_for_runs",
    "copy_thread",
    "prune",
)
Opening = Any  # path -> asynchronous context manager of a saver


class Adapted(BaseCheckpointSaver[str]):
    """The synchronous saver with asynchronous methods that do nothing but call its own."""

    def __init__(self, saver: SqliteSaver) -> None:
        super().__init__(serde=saver.serde)
        self.saver = saver

    def get_next_version(self, current: str | None, channel: None) -> str:
        return self.saver.get_next_version(current, channel)

    async def aget_tuple(self, config: Any) -> Any:
        return self.saver.get_tuple(config)

    async def alist(self, config: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for found in self.saver.list(config, **kwargs):
            yield found

    async def aput(self, *args: Any) -> Any:
        return self.saver.put(*args)

    async def aput_writes(self, *args: Any, **kwargs: Any) -> None:
        self.saver.put_writes(*args, **kwargs)

    async def adelete_thread(self, thread_id: str) -> None:
        self.saver.delete_thread(thread_id)

    async def adelete_for_runs(self, run_ids: Any) -> None:
        self.saver.delete_for_runs(run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.saver.copy_thread(source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
        self.saver.prune(thread_ids, strategy=strategy)


class LeavesWrites(AsyncSqliteSaver):
    """Deletes checkpoints, but none of their writes."""

    async def adelete_thread(self, thread_id: str) -> None:
        await self.conn.execute("DELETE FROM checkpoints WHERE thread_id = ?", (thread_id,))
        await self.conn.commit()

    async def aprune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
        for thread_id in thread_ids if strategy == "delete" else ():
            await self.adelete_thread(thread_id)
        if strategy != "delete":
            await super().aprune(thread_ids, strategy=strategy)

    async def adelete_for_runs(self, run_ids: Any) -> None:
        for run_id in run_ids:
            sql = "DELETE FROM checkpoints WHERE json_extract(CAST(metadata AS TEXT), '$.run_id') = ?"
            await self.conn.execute(sql, (str(run_id),))
        await self.conn.commit()


class LosesTypes(AsyncSqliteSaver):
    """Stores no other types than JSON's, messages and the like: a user's come back as dictionaries."""

    def __init__(self, conn: Any) -> None:
        super().__init__(conn, serde=JsonPlusSerializer(allowed_msgpack_modules=None))


class CutsHistory(AsyncSqliteSaver):
    """Keeps of each namespace the newest checkpoint, whatever that is made of."""

    async def aprune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
        if strategy == "delete":
            await super().aprune(thread_ids, strategy=strategy)
            return
        older = """DELETE FROM {} AS old WHERE thread_id = ? AND checkpoint_id < (
            SELECT max(checkpoint_id) FROM checkpoints AS new
            WHERE new.thread_id = old.thread_id AND new.checkpoint_ns = old.checkpoint_ns)"""
        for thread_id in thread_ids:
            for table in ("writes", "checkpoints"):
                await self.conn.execute(older.format(table), (thread_id,))
        await self.conn.execute("UPDATE checkpoints SET parent_checkpoint_id = NULL")
        await self.conn.commit()


@asynccontextmanager
async def open_sync(path: str) -> AsyncIterator[Any]:
    with SqliteSaver.from_conn_string(path) as saver:
        yield Adapted(saver)


def in_memory(open_saver: Opening) -> Opening:
    return lambda _: open_saver(":memory:")


OPENINGS: dict[str, Opening] = {
    "async, in memory": in_memory(AsyncSqliteSaver.from_conn_string),
    "async, file": AsyncSqliteSaver.from_conn_string,
    "sync, in memory": in_memory(open_sync),
    "sync, file": open_sync,
    "official": OfficialAsyncSaver.from_conn_string,
    **{kind.__name__: kind.from_conn_string for kind in (LeavesWrites, LosesTypes, CutsHistory)},
}
Report = Any


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Report]:
    """What the suite finds of a saver, run once; each capability gets a file of its own."""

    @cache
    def run(name: str) -> Report:
        async def savers() -> AsyncIterator[Any]:
            async with OPENINGS[name](str(tmp_path_factory.mktemp("store") / "store")) as saver:
                yield saver

        return asyncio.run(validate(RegisteredCheckpointer(name, savers)))

    return run


def check(report: Report, capability: str) -> None:
    result = report.results[capability]
    assert result.detected
    assert (result.passed, result.failures, result.tests_failed) == (True, [], 0)
    assert result.tests_passed > 0
    assert result.tests_skipped == 0


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("opening", ["async, in memory", "async, file", "sync, in memory", "sync, file"])
def test_a_capability_is_detected_and_passes(opening: str, capability: str, report: Any) -> None:
    check(report(opening), capability)


def test_there_are_no_other_capabilities() -> None:
    assert set(CAPABILITIES) == {capability.value for capability in Capability}


@pytest.mark.parametrize("capability", ["delete_for_runs", "copy_thread", "prune"])
def test_a_capability_that_is_not_there_counts_as_full_but_not_here(capability: str, report: Any) -> None:
    assert report("official").conformance_level() == "FULL"
    with pytest.raises(AssertionError):
        check(report("official"), capability)


# What the suite does not notice. Each check is shown to fail with a saver that the suite passes.


def address(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


async def check_that_deleting_leaves_no_rows(saver: AsyncSqliteSaver) -> None:
    deletions = {
        "thread": lambda: saver.adelete_thread("thread"),
        "pruned": lambda: saver.aprune(["pruned"], strategy="delete"),
        "run": lambda: saver.adelete_for_runs(["of run"]),
    }
    for thread_id in (*deletions, "kept"):
        stored = await saver.aput(address(thread_id), empty_checkpoint(), {"run_id": f"of {thread_id}"}, {})
        await saver.aput_writes(stored, [("channel", "written")], "task")
    for delete in deletions.values():
        await delete()
    for table in ("checkpoints", "writes"):
        left = await (await saver.conn.execute(f"SELECT thread_id FROM {table}")).fetchall()
        assert list(left) == [("kept",)]


async def check_that_types_come_back(saver: AsyncSqliteSaver) -> None:
    values = {
        "order": Order(id="98-1143", paid=Decimal("240.00")),
        "points": [Point(1, 2), {"of": [Decimal("0.1"), UUID(int=7)]}],
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "seen": {1, 2},
    }
    stored = await saver.aput(address("1"), {**empty_checkpoint(), "channel_values": values}, {}, {})
    await saver.aput_writes(stored, list(values.items()), "task")
    found = await saver.aget_tuple(stored)
    assert found is not None
    assert repr(found.checkpoint["channel_values"]) == repr(values)
    assert repr([write[1:] for write in found.pending_writes or ()]) == repr(list(values.items()))


async def check_that_pruning_keeps_delta_channels(saver: AsyncSqliteSaver) -> None:
    graph: Any = SHAPES["delta 100"].build(saver)
    await graph.ainvoke({"n": 0, "log": ["began"]}, thread("1"))
    before = (await graph.aget_state(thread("1"))).values
    assert len(before["log"]) > 5
    await saver.aprune(["1"])
    assert (await graph.aget_state(thread("1"))).values == before


CHECKS = {
    LeavesWrites: check_that_deleting_leaves_no_rows,
    LosesTypes: check_that_types_come_back,
    CutsHistory: check_that_pruning_keeps_delta_channels,
}


@pytest.mark.parametrize("mutant", CHECKS)
async def test_what_the_suite_does_not_notice(mutant: Any, tmp_path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        await CHECKS[mutant](saver)


@pytest.mark.parametrize("mutant", CHECKS)
async def test_each_of_these_checks_fails_with_a_saver_that_is_so(mutant: Any, tmp_path: Path) -> None:
    async with mutant.from_conn_string(str(tmp_path / "store")) as saver:
        with pytest.raises(AssertionError):
            await CHECKS[mutant](saver)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("mutant", CHECKS)
def test_the_suite_passes_such_a_saver(mutant: Any, capability: str, report: Any) -> None:
    check(report(mutant.__name__), capability)


def test_the_synchronous_saver_does_what_the_suite_does_not_notice(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store")) as conn:
        saver = SqliteSaver(conn)
        stored = saver.put(address("1"), empty_checkpoint(), {"run_id": "r"}, {})
        saver.put_writes(stored, [("channel", Point(1, 2))], "task")
        assert saver.get_tuple(stored).pending_writes == [("task", "channel", Point(1, 2))]  # type: ignore[union-attr]
        saver.delete_for_runs(["r"])
        assert conn.execute("SELECT count(*) FROM writes").fetchone() == (0,)
