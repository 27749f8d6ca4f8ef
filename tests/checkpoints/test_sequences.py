"""Random calls of our SQLite savers and of the official ones: same answers, same errors, same rows."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import aiosqlite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, SCHEDULED, _DeltaSnapshot
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSaver

from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import Sequence

STABLE = settings(
    max_examples=200,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TABLES = "SELECT rowid, * FROM checkpoints ORDER BY rowid", "SELECT rowid, * FROM writes ORDER BY rowid"

# Few of each kind, so that calls meet; among them what SQL, JSON, UTF-8 and C could trip over.
THREADS = ["1", 1, "1 ", "", "é'\"\\%_", "x" * 5000, "1\x002", "\U0001f600"]
NAMESPACES = ["", "node:1", "node:1|é\x00"]
EMPTY = empty_checkpoint()
TWO = st.sampled_from([0, 0, 0, 1])  # of these threads and namespaces, the first one mostly
KEYS = ["1", "10", "2", "é'\U0001f600"]
IDS = st.sampled_from(KEYS)
CHANNELS = ["log", "é'"]
TASKS = st.sampled_from(["task-1", "task-2", "", "é\x00"])
PATHS = st.sampled_from([(), ("",), ("~a, 1",), ("~a, 10",), ("~a, 2",), ("é",)])
VALUES = st.sampled_from(
    [
        None,
        "",
        "text \x00 é",
        0,
        1.5,
        True,
        b"\x00",
        [1, [2]],
        {"a": {"b": None}},
        {1, 2},
        _DeltaSnapshot(["s"]),
    ]
)
WRITES = st.lists(
    st.tuples(st.sampled_from([*CHANNELS, ERROR, SCHEDULED, INTERRUPT, RESUME]), VALUES), max_size=4
)
STATES = st.dictionaries(st.sampled_from(CHANNELS), VALUES, max_size=2)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "source": st.sampled_from(["input", "loop", "a\x00b", "\ud800"]),
        "step": st.sampled_from([-1, 0, 1, 2.0, True]),
        "parents": st.sampled_from([{}, {"": "1"}]),
        "user": st.sampled_from([None, "Zoë", ["a", 1], 10**30, float("nan")]),
    },
)
FILTERS = st.dictionaries(
    st.sampled_from(
        ["source", "step", "parents", "user", "user_id", "parents.x", "user.a-b", "a'b", "", "a..b"]
    ),
    st.sampled_from(
        ["input", "loop", "ab", 0, 1, 2, True, 1.0, None, {}, {"": "1"}, ["a", 1], ("a", 1), "Zoë"]
    ),
    max_size=2,
)


def where(thread_id: Any, ns: str | None = None, checkpoint_id: str | None = None) -> Any:
    parts = {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}
    return {"configurable": {name: part for name, part in parts.items() if part is not None}}


def checkpoint(checkpoint_id: Any, values: dict[str, Any]) -> Any:
    return {**EMPTY, "id": checkpoint_id, "channel_values": values}


# A thread, a namespace, and a checkpoint's id.
Place: TypeAlias = tuple[int, int | None, str | None]
CHECKPOINTS = st.tuples(TWO, TWO, IDS)
PARENTS = st.tuples(TWO, TWO, st.sampled_from([None, *KEYS, *KEYS]))
PLACES = st.tuples(TWO, st.none() | TWO, st.none() | st.just("") | IDS)
PUTS = st.lists(st.tuples(PARENTS, IDS, STATES, METADATA), min_size=2, max_size=6)
PUT_WRITES = st.lists(st.tuples(CHECKPOINTS, WRITES, TASKS, PATHS), min_size=2, max_size=6)
UNKNOWN: Any = {"configurable": {}}
HERE = where("1", "", "1")
NO_TEXT = where("\ud800", "", "1")
CONFIGS = st.builds(where, st.sampled_from(["1", 1, "é'"]), st.sampled_from(NAMESPACES), IDS)
MISUSES: list[tuple[Any, ...]] = [
    ("get_tuple", {}),
    ("get_tuple", UNKNOWN),
    ("get_tuple", NO_TEXT),
    ("put", UNKNOWN, checkpoint("1", {}), {}, {}),
    ("put", where("1"), checkpoint("1", {}), {}, {}),
    ("put", NO_TEXT, checkpoint("1", {}), {}, {}),
    ("put", HERE, checkpoint("1", {"log": print}), {}, {}),
    ("put", HERE, checkpoint("1", {}), {"user": print}, {}),
    ("put", HERE, checkpoint(None, {}), {}, {}),
    ("put", HERE, {}, {}, {}),
    ("put_writes", UNKNOWN, [("log", 1)], "task-1"),
    ("put_writes", where("1", ""), [("log", 1)], "task-1"),
    ("put_writes", NO_TEXT, [("log", 1)], "task-1"),
    ("put_writes", HERE, [("log", 1), ("log", print)], "task-1"),
    ("put_writes", HERE, [("log", 1)], object()),
    ("put_writes", HERE, [("log", 1)], None),
    ("delete_thread", "\ud800"),
]


def outcome(saver: Any, method: str, *args: Any, **kwargs: Any) -> str:
    try:
        told = getattr(saver, method)(*args, **kwargs)
        return repr(list(told) if inspect.isgenerator(told) else told)
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
        return type(error).__name__


async def aoutcome(saver: Any, method: str, *args: Any, **kwargs: Any) -> str:
    try:
        told = getattr(saver, method)(*args, **kwargs)
        return repr([each async for each in told] if inspect.isasyncgen(told) else await told)
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
        if isinstance(saver, OfficialAsyncSaver):  # it leaves its transaction open
            await saver.conn.rollback()
        return type(error).__name__


class Calls(RuleBasedStateMachine):
    """Calls that go to both savers, whose answers must be equal; at the end the rows must be, too."""

    def __init__(self) -> None:
        super().__init__()
        self.savers = self.open()

    def open(self) -> Sequence[Any]:
        savers = [saver(sqlite3.connect(":memory:")) for saver in (OfficialSaver, SqliteSaver)]
        for saver in savers:
            saver.setup()
        return savers

    def teardown(self) -> None:
        expected, found = ([list(saver.conn.execute(table)) for table in TABLES] for saver in self.savers)
        for saver in self.savers:
            saver.conn.close()
        assert found == expected

    def call(self, method: str, *args: Any, **kwargs: Any) -> None:
        expected, found = (self.outcome(saver, method, *args, **kwargs) for saver in self.savers)
        assert found == expected

    def outcome(self, saver: Any, method: str, *args: Any, **kwargs: Any) -> str:
        return outcome(saver, method, *args, **kwargs)

    @initialize(
        threads=st.lists(st.sampled_from(THREADS), min_size=2, max_size=2),
        spaces=st.lists(st.sampled_from(NAMESPACES), min_size=2, max_size=2),
        puts=PUTS,
        writes=PUT_WRITES,
    )
    def begin(self, threads: Any, spaces: Any, puts: Any, writes: Any) -> None:
        self.threads, self.spaces = threads, spaces
        self.put(puts)
        self.put_writes(writes)

    def at(self, place: Place) -> Any:
        """Return a config with what the place says."""
        thread, space, checkpoint_id = place
        return where(self.threads[thread], None if space is None else self.spaces[space], checkpoint_id)

    @rule(puts=PUTS)
    def put_checkpoints(self, puts: Any) -> None:
        self.put(puts)

    @rule(writes=PUT_WRITES)
    def put_some_writes(self, writes: Any) -> None:
        self.put_writes(writes)

    def put(self, puts: Any) -> None:
        for parent, checkpoint_id, values, metadata in puts:
            config = self.at(parent)
            config["configurable"] |= {"user_id": "ana\x00", "flag": True, "left_out": [1]}
            self.call("put", config, checkpoint(checkpoint_id, values), metadata, {})

    def put_writes(self, puts: Any) -> None:
        for place, writes, task_id, path in puts:
            self.call("put_writes", self.at(place), writes, task_id, *path)

    @rule(place=PLACES)
    def get_tuple(self, place: Place) -> None:
        self.call("get_tuple", self.at(place))
        self.call("get", self.at(place))

    @rule(
        place=st.none() | PLACES,
        filter=st.none() | FILTERS,
        before=st.none() | PLACES,
        limit=st.sampled_from([None, -1, 0, 1, 2, 5]),
    )
    def list(self, place: Place | None, filter: Any, before: Place | None, limit: int | None) -> None:
        config, older = (None if each is None else self.at(each) for each in (place, before))
        self.call("list", config, filter=filter, before=older, limit=limit)

    @rule(place=PLACES, channels=st.permutations([*CHANNELS, ERROR]) | st.sampled_from([[], ["log"]]))
    def get_delta_channel_history(self, place: Place, channels: Any) -> None:
        self.call("get_delta_channel_history", config=self.at(place), channels=channels)

    @rule(thread=TWO, chance=st.integers(0, 3))
    def delete_thread(self, thread: int, chance: int) -> None:
        if not chance:
            self.call("delete_thread", self.threads[thread])

    @rule(misuse=st.sampled_from(MISUSES))
    def misuse(self, misuse: Any) -> None:
        self.call(misuse[0], *misuse[1:])


class AsyncCalls(Calls):
    """The same on the asynchronous savers, on a loop of its own."""

    def open(self) -> Sequence[Any]:
        self.runner = asyncio.Runner()
        return [self.runner.run(opened(saver)) for saver in (OfficialAsyncSaver, AsyncSqliteSaver)]

    def teardown(self) -> None:
        async def close(saver: Any) -> list[Any]:
            rows = [await saver.conn.execute_fetchall(table) for table in TABLES]
            await saver.conn.close()
            return rows

        expected, found = (self.runner.run(close(saver)) for saver in self.savers)
        self.runner.close()
        assert found == expected

    def outcome(self, saver: Any, method: str, *args: Any, **kwargs: Any) -> str:
        return self.runner.run(aoutcome(saver, f"a{method}", *args, **kwargs))


async def opened(saver_type: Any) -> Any:
    saver = saver_type(await aiosqlite.connect(":memory:"))
    await saver.setup()  # the official `adelete_thread` does not
    return saver


def test_any_sequence_of_calls_does_what_it_does_officially() -> None:
    run_state_machine_as_test(Calls, settings=STABLE)


def test_any_sequence_of_async_calls_does_what_it_does_officially() -> None:
    run_state_machine_as_test(AsyncCalls, settings=STABLE)


def key(call: tuple[Any, ...]) -> Any:
    """Return what a call stores its rows under. Calls with different ones may be done in any order."""
    place = tuple(str(call[1]["configurable"].get(name)) for name in ("thread_id", "checkpoint_ns"))
    if call[0] == "put":
        return place, call[2]["id"]
    return place, call[1]["configurable"].get("checkpoint_id"), call[3]


CALLS = (
    st.tuples(st.just("put"), CONFIGS, st.builds(checkpoint, IDS, STATES), METADATA, st.just({}))
    | st.tuples(st.just("put_writes"), CONFIGS, WRITES, TASKS)
    | st.tuples(st.just("put_writes"), CONFIGS, st.just([("log", 1), (object(), 2), ("log", 3)]), TASKS)
    | st.sampled_from([misuse for misuse in MISUSES if misuse[0] == "put_writes"])
)


async def one_by_one(batch: Sequence[Any]) -> Any:
    async with OfficialAsyncSaver.from_conn_string(":memory:") as saver:
        told = [await aoutcome(saver, f"a{call[0]}", *call[1:]) for call in batch]
        return told, [list(await saver.conn.execute_fetchall(table)) for table in TABLES]


async def at_once(batch: Sequence[Any]) -> Any:
    async with AsyncSqliteSaver.from_conn_string(":memory:") as saver:
        told = await asyncio.gather(*(aoutcome(saver, f"a{call[0]}", *call[1:]) for call in batch))
        return told, [list(await saver.conn.execute_fetchall(table)) for table in TABLES]


@given(batch=st.lists(CALLS, min_size=5, max_size=40))
@STABLE
def test_async_calls_at_once_store_what_they_store_one_by_one(batch: Any) -> None:
    """In their order, so that of those that meet the last one wins, or the first."""
    assert asyncio.run(at_once(batch)) == asyncio.run(one_by_one(batch))


@given(batch=st.lists(CALLS, min_size=5, max_size=40, unique_by=key))
@STABLE
def test_calls_of_many_threads_store_what_they_store_one_by_one(batch: Any) -> None:
    with SqliteSaver.from_conn_string(":memory:") as saver, ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda call: outcome(saver, *call), batch))
        rows = [list(saver.conn.execute(table)) for table in TABLES]
    expected, expected_rows = asyncio.run(one_by_one(batch))
    assert told == expected
    assert [unordered(table) for table in rows] == [unordered(table) for table in expected_rows]


def unordered(rows: Sequence[Any]) -> list[Any]:
    """Return the rows without their place in the table."""
    return sorted((row[1:] for row in rows), key=repr)
