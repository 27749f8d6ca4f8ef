"""The public conformance suite for savers, and what it does not notice."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from backends import BACKENDS, IN_SQLITE, POSTGRES, SQLITE, Backend, stores
from graphs import Order, Point
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.conformance.initializer import RegisteredCheckpointer
from langgraph.checkpoint.conformance.validate import validate
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from thread_graphs import SHAPES, thread

from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

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


class Adapted(BaseCheckpointSaver[str]):
    """The synchronous saver with asynchronous methods that do nothing but call its own."""

    def __init__(self, saver: Any) -> None:
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
async def adapted(backend: Backend, place: str, build: Any, kind: str) -> AsyncIterator[Any]:
    with backend.open(place, build, kind=kind) as saver:
        yield Adapted(saver)


MUTANTS = (LeavesWrites, LosesTypes, CutsHistory)
# How to open a saver of each name at a place.
OPENINGS: dict[str, Callable[[str], Any]] = {
    **{
        f"{backend.name}, async, {kind}": lambda place, of=backend, kind=kind: of.aopen(
            place, of.ours.aio, kind
        )
        for backend in BACKENDS
        for kind in backend.kinds
    },
    **{
        f"{backend.name}, sync, {kind}": lambda place, of=backend, kind=kind: adapted(
            of, place, of.ours.sync, kind
        )
        for backend in BACKENDS
        for kind in backend.kinds
    },
    "sqlite, async, memory": lambda _: SQLITE.aopen(":memory:", SQLITE.ours.aio),
    "sqlite, sync, memory": lambda _: adapted(SQLITE, ":memory:", SQLITE.ours.sync, "connection"),
}
OURS = tuple(OPENINGS)
OPENINGS |= {
    f"{backend.name}, official": lambda place, of=backend: of.aopen(place, of.official.aio)
    for backend in BACKENDS
}
OPENINGS |= {
    f"sqlite, {kind.__name__}": lambda place, kind=kind: SQLITE.aopen(place, kind) for kind in MUTANTS
}
Report = Any


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Callable[[str], Report]:
    """What the suite finds of a saver, run once; each capability gets a store of its own."""

    @cache
    def run(name: str) -> Report:
        backend = SQLITE if name.startswith("sqlite") else POSTGRES

        async def savers() -> AsyncIterator[Any]:
            with stores(backend, request) as new_store:
                async with OPENINGS[name](new_store()) as saver:
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
@pytest.mark.parametrize("opening", OURS)
def test_a_capability_is_detected_and_passes(opening: str, capability: str, report: Any) -> None:
    check(report(opening), capability)


def test_there_are_no_other_capabilities() -> None:
    assert set(CAPABILITIES) == {capability.value for capability in Capability}


@pytest.mark.parametrize(
    ("official", "capability"),
    [
        ("sqlite, official", "delete_for_runs"),
        ("sqlite, official", "copy_thread"),
        ("sqlite, official", "prune"),
        ("postgres, official", "delete_for_runs"),
        ("postgres, official", "copy_thread"),
    ],
)
def test_a_capability_that_is_not_there_counts_as_full_but_not_here(
    official: str, capability: str, report: Any
) -> None:
    assert report(official).conformance_level() == "FULL"
    with pytest.raises(AssertionError):
        check(report(official), capability)


# What the suite does not notice. Each check is shown to fail with a saver that the suite passes.


def address(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


async def check_that_deleting_leaves_no_rows(backend: Backend, place: str, saver: Any) -> None:
    deletions = {
        "thread": lambda: saver.adelete_thread("thread"),
        "pruned": lambda: saver.aprune(["pruned"], strategy="delete"),
        "run": lambda: saver.adelete_for_runs(["of run"]),
    }
    for thread_id in (*deletions, "kept"):
        checkpoint = {**empty_checkpoint(), "channel_values": {"log": [1]}, "channel_versions": {"log": "1"}}
        stored = await saver.aput(address(thread_id), checkpoint, {"run_id": f"of {thread_id}"}, {"log": "1"})
        await saver.aput_writes(stored, [("channel", "written")], "task")
    for delete in deletions.values():
        await delete()
    for table in backend.tables:
        assert backend.execute(place, f"SELECT thread_id FROM {table}") == [("kept",)]


async def check_that_types_come_back(backend: Backend, place: str, saver: Any) -> None:
    values = {
        "order": Order(id="98-1143", paid=Decimal("240.00")),
        "points": [Point(1, 2), {"of": [Decimal("0.1"), UUID(int=7)]}],
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "seen": {1, 2},
    }
    versions = dict.fromkeys(values, "1")
    checkpoint = {**empty_checkpoint(), "channel_values": values, "channel_versions": versions}
    stored = await saver.aput(address("1"), checkpoint, {}, versions)
    await saver.aput_writes(stored, list(values.items()), "task")
    found = await saver.aget_tuple(stored)
    assert found is not None
    assert {name: repr(found.checkpoint["channel_values"][name]) for name in values} == {
        name: repr(value) for name, value in values.items()
    }
    assert repr([write[1:] for write in found.pending_writes or ()]) == repr(list(values.items()))


async def check_that_pruning_keeps_delta_channels(backend: Backend, place: str, saver: Any) -> None:
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


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_what_the_suite_does_not_notice(mutant: Any, backend: Backend, new_store: Any) -> None:
    place = new_store()
    async with backend.aopen(place, backend.ours.aio) as saver:
        await CHECKS[mutant](backend, place, saver)


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_the_synchronous_saver_does_it_too(mutant: Any, backend: Backend, new_store: Any) -> None:
    place = new_store()
    with backend.open(place, backend.ours.sync) as saver:
        await CHECKS[mutant](backend, place, Adapted(saver))


@IN_SQLITE
@pytest.mark.parametrize("mutant", MUTANTS)
async def test_each_of_these_checks_fails_with_a_saver_that_is_so(
    mutant: Any, backend: Backend, new_store: Any
) -> None:
    place = new_store()
    async with backend.aopen(place, mutant) as saver:
        with pytest.raises(AssertionError):
            await CHECKS[mutant](backend, place, saver)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_suite_passes_such_a_saver(mutant: Any, capability: str, report: Any) -> None:
    check(report(f"sqlite, {mutant.__name__}"), capability)
