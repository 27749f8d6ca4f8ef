"""Random calls of our savers and of the official ones: same answers, same errors, same rows."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
import pytest
from backends import EACH_KIND, SQLITE, Backend
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, SCHEDULED, TASKS, _DeltaSnapshot
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STABLE = settings(
    max_examples=150,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
# Where a call is a round trip, and making a failure smaller would take minutes.
FEWER = settings(STABLE, max_examples=40, phases=[Phase.generate])

# Few of each kind, so that calls meet; among them what SQL, JSON, UTF-8 and C could trip over.
# What PostgreSQL's JSON or its official saver cannot take has tests of its own.
THREADS = ["1", "1 ", "", "é'\"\\%_", "x" * 600, "1\x002", "\U0001f600"]
NAMESPACES = ["", "node:1", "node:1|é\x00"]
EMPTY = empty_checkpoint()
TWO = st.sampled_from([0, 0, 0, 1])  # of these threads and namespaces, the first one mostly
KEYS = ["1", "10", "2", "é'\U0001f600"]
IDS = st.sampled_from(KEYS)
CHANNELS = ["log", "é'"]
TASK_IDS = st.sampled_from(["task-1", "task-2", "", "é\x00"])
PATHS = st.sampled_from([(), ("",), ("~a, 1",), ("~a, 10",), ("~a, 2",), ("é",)])
VALUES = st.sampled_from(
    [
        None,
        "",
        "text é\U0001f600",
        ["text \x00 é"],
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
    st.tuples(st.sampled_from([*CHANNELS, ERROR, SCHEDULED, INTERRUPT, RESUME, TASKS]), VALUES), max_size=4
)
STATES = st.dictionaries(st.sampled_from(CHANNELS), VALUES, max_size=2)
VERSIONS = st.dictionaries(
    st.sampled_from(CHANNELS), st.sampled_from(["1", "1.5", "2"]), min_size=1, max_size=2
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "source": st.sampled_from(["input", "loop", "fork", "input", "loop", "fork", "a\x00b", "\ud800"]),
        "step": st.sampled_from([-1, 0, 1, 2.0, True]),
        "parents": st.sampled_from([{}, {"": "1"}]),
        "user": st.sampled_from([None, "Zoë", ["a", 1], {"a-b": 0.5}, 10**30, 1e-7, float("nan")]),
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


def checkpoint(checkpoint_id: Any, values: dict[str, Any], versions: Any = (), v: int = 4) -> Any:
    named = {"id": checkpoint_id, "channel_values": values, "channel_versions": dict(versions)}
    return {**EMPTY, **named, "v": v}


# A thread, a namespace, and a checkpoint's id.
Place: TypeAlias = tuple[int, int | None, str | None]
CHECKPOINTS = st.tuples(TWO, TWO, IDS)
PARENTS = st.tuples(TWO, TWO, st.sampled_from([None, *KEYS, *KEYS]))
PLACES = st.tuples(TWO, st.none() | TWO, st.none() | st.just("") | IDS)
LISTED = st.tuples(TWO, st.none() | TWO, st.none())
PUTS = st.lists(
    st.tuples(PARENTS, IDS, STATES, VERSIONS, st.sampled_from([1, 4, 4]), METADATA), min_size=2, max_size=6
)
PUT_WRITES = st.lists(st.tuples(CHECKPOINTS, WRITES, TASK_IDS, PATHS), min_size=2, max_size=6)
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


ERRORS = ("TypeError", "ProgrammingError", "InterfaceError")
FAILURES = (sqlite3.Error, psycopg.Error, ValueError, KeyError, TypeError)


def outcome(backend: Backend, saver: Any, method: str, *args: Any, **kwargs: Any) -> str:
    try:
        told = getattr(saver, method)(*args, **kwargs)
        return backend.text(list(told) if inspect.isgenerator(told) else told)
    except FAILURES as error:
        return type(error).__name__


async def aoutcome(backend: Backend, saver: Any, method: str, *args: Any, **kwargs: Any) -> str:
    try:
        told = getattr(saver, f"a{method}")(*args, **kwargs)
        return backend.text([each async for each in told] if inspect.isasyncgen(told) else await told)
    except FAILURES as error:
        if isinstance(saver, OfficialAsyncSqliteSaver):  # it leaves its transaction open
            await saver.conn.rollback()
        return type(error).__name__


class Ground(ABC):
    """The official saver and ours, each on tables of its own, which are emptied for every example."""

    def __init__(self, backend: Backend, places: Sequence[str]) -> None:
        self.backend, self.places = backend, places
        self.savers: list[Any] = []

    @abstractmethod
    def outcome(self, saver: Any, method: str, *args: Any, **kwargs: Any) -> str:
        """Return what a call tells, or the name of its error."""

    @abstractmethod
    def execute(self, saver: Any, statement: str) -> list[Any]:
        """Run SQL on the saver's tables and return the rows."""

    def empty(self) -> None:
        for saver in self.savers:
            for table in self.backend.tables:
                self.execute(saver, f"DELETE FROM {table}")

    def rows(self, saver: Any) -> list[list[Any]]:
        if self.backend is SQLITE:  # the order in which rows were added counts, too
            return [self.execute(saver, f"SELECT rowid, * FROM {name}") for name in self.backend.tables]
        return [
            sorted(map(repr, self.execute(saver, f"SELECT * FROM {name}"))) for name in self.backend.tables
        ]


class SyncGround(Ground):
    """The synchronous savers."""

    def open(self, stack: ExitStack, kind: str) -> None:
        for pair, place, of_kind in zip(pairs(self.backend), self.places, ("connection", kind), strict=True):
            self.savers.append(stack.enter_context(self.backend.open(place, pair.sync, of_kind)))
        self.sides = sides(self.backend, stack, self.places)

    def outcome(self, saver: Any, method: str, *args: Any, **kwargs: Any) -> str:
        return outcome(self.backend, saver, method, *args, **kwargs)

    def execute(self, saver: Any, statement: str) -> list[Any]:
        conn = self.sides[self.savers.index(saver)] if self.sides else saver.conn
        cursor = conn.execute(statement)
        return cursor.fetchall() if cursor.description else conn.commit() or []


class AsyncGround(Ground):
    """The asynchronous savers, on a loop of their own."""

    def open(self, stack: ExitStack, kind: str) -> None:
        self.runner = stack.enter_context(asyncio.Runner())
        held = AsyncExitStack()
        stack.callback(lambda: self.runner.run(held.aclose()))
        for pair, place, of_kind in zip(pairs(self.backend), self.places, ("connection", kind), strict=True):
            opening = held.enter_async_context(self.backend.aopen(place, pair.aio, of_kind))
            self.savers.append(self.runner.run(opening))
        self.sides = sides(self.backend, stack, self.places)

    def outcome(self, saver: Any, method: str, *args: Any, **kwargs: Any) -> str:
        return self.runner.run(aoutcome(self.backend, saver, method, *args, **kwargs))

    def execute(self, saver: Any, statement: str) -> list[Any]:
        if self.sides:
            cursor = self.sides[self.savers.index(saver)].execute(statement)
            return cursor.fetchall() if cursor.description else []

        async def run() -> list[Any]:
            rows = list(await saver.conn.execute_fetchall(statement))
            await saver.conn.commit()
            return rows

        return self.runner.run(run())


def pairs(backend: Backend) -> Any:
    return backend.official, backend.ours


def sides(backend: Backend, stack: ExitStack, places: Sequence[str]) -> list[Any]:
    """Open a connection of our own to each place that has more than one."""
    if backend is SQLITE:
        return []
    return [stack.enter_context(psycopg.connect(place, autocommit=True)) for place in places]


@contextmanager
def opened(ground_type: Any, backend: Backend, kind: str, new_store: Callable[[], str]) -> Iterator[Any]:
    places = [":memory:"] * 2 if backend is SQLITE else [new_store(), new_store()]
    with ExitStack() as stack:
        ground = ground_type(backend, places)
        ground.open(stack, kind)
        yield ground


class Calls(RuleBasedStateMachine):
    """Calls that go to both savers, whose answers must be equal; at the end the rows must be, too."""

    ground: Any

    def __init__(self) -> None:
        super().__init__()
        self.ground.empty()

    def teardown(self) -> None:
        expected, found = map(self.ground.rows, self.ground.savers)
        assert found == expected

    def call(self, method: str, *args: Any, **kwargs: Any) -> None:
        expected, found = (
            self.ground.outcome(saver, method, *args, **kwargs) for saver in self.ground.savers
        )
        assert found == expected

    @initialize(
        threads=st.lists(st.sampled_from(THREADS), min_size=2, max_size=2),
        spaces=st.lists(st.sampled_from(NAMESPACES), min_size=2, max_size=2),
        puts=PUTS,
        writes=PUT_WRITES,
        old=st.booleans(),
    )
    def begin(self, threads: Any, spaces: Any, puts: Any, writes: Any, old: bool) -> None:
        self.old = old  # whether there are checkpoints of before version 4, whose tasks their parents hold
        # PostgreSQL has no NUL: a listing of none asks for nothing, and so it does not notice.
        nul = "\x00" if self.ground.backend is SQLITE else ""
        self.threads, self.spaces = (
            [name.replace("\x00", nul) for name in each] for each in (threads, spaces)
        )
        self.put(puts)
        self.put_writes(writes)

    def at(self, place: Place) -> Any:
        """Return a config with what the place says."""
        thread, space, checkpoint_id = place
        checkpoint_id = self.id(thread, space, checkpoint_id) if checkpoint_id else checkpoint_id
        return where(self.threads[thread], None if space is None else self.spaces[space], checkpoint_id)

    def id(self, thread: int, space: int | None, key: str) -> str:
        """Return an id. In PostgreSQL equal ones of several namespaces are listed in any order."""
        return key if self.ground.backend is SQLITE else f"{key}.{thread}{space or 0}"

    @rule(puts=PUTS)
    def put_checkpoints(self, puts: Any) -> None:
        self.put(puts)

    @rule(writes=PUT_WRITES)
    def put_some_writes(self, writes: Any) -> None:
        self.put_writes(writes)

    def put(self, puts: Any) -> None:
        for parent, key, values, versions, v, metadata in puts:
            config = self.at(parent)
            config["configurable"] |= {"user_id": "ana\x00", "flag": True, "left_out": [1]}
            stored = checkpoint(self.id(*parent[:2], key), values, versions, v if self.old else 4)
            if self.ground.backend is not SQLITE and parent[2] and parent[2] >= key:
                # The official PostgreSQL saver walks to older ids only, and round a loop for ever.
                config["configurable"].pop("checkpoint_id")
            new = {name: versions[name] for name in list(versions)[: len(key) + 1]}
            self.call("put", config, stored, metadata, new)

    def put_writes(self, puts: Any) -> None:
        for place, writes, task_id, path in puts:
            self.call("put_writes", self.at(place), writes, task_id, *path)

    @rule(place=PLACES)
    def get_tuple(self, place: Place) -> None:
        self.call("get_tuple", self.at(place))
        self.call("get", self.at(place))

    @rule(
        place=st.none() | LISTED | PLACES,
        filter=st.none() | st.none() | FILTERS,
        before=st.none() | PLACES,
        limit=st.sampled_from([None, -1, 0, 1, 2, 5]),
    )
    def list(self, place: Place | None, filter: Any, before: Place | None, limit: int | None) -> None:
        if self.ground.backend is not SQLITE:
            if limit == -1:  # all of them in SQLite, an error in PostgreSQL
                return
            if place is None and self.old:  # the official saver looks for tasks in one thread
                place = (0, None, None)
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


@pytest.mark.parametrize(("backend", "kind"), EACH_KIND, indirect=["backend"])
@pytest.mark.parametrize("ground_type", [SyncGround, AsyncGround])
def test_any_sequence_of_calls_does_what_it_does_officially(
    ground_type: Any, kind: str, backend: Backend, new_store: Any
) -> None:
    with opened(ground_type, backend, kind, new_store) as ground:
        machine = type("CallsHere", (Calls,), {"ground": ground})
        run_state_machine_as_test(machine, settings=STABLE if backend is SQLITE else FEWER)


def key(call: tuple[Any, ...]) -> Any:
    """Return what a call stores its rows under. Calls with different ones may be done in any order."""
    place = tuple(str(call[1]["configurable"].get(name)) for name in ("thread_id", "checkpoint_ns"))
    if call[0] == "put":
        return place, call[2]["id"]
    return place, call[1]["configurable"].get("checkpoint_id"), call[3]


CALLS = (
    st.tuples(st.just("put"), CONFIGS, st.builds(checkpoint, IDS, STATES, VERSIONS), METADATA, VERSIONS)
    | st.tuples(st.just("put_writes"), CONFIGS, WRITES, TASK_IDS)
    | st.sampled_from([misuse for misuse in MISUSES if misuse[0] == "put_writes"])
)
# Some official savers keep the first half of it; see test_a_call_that_fails_leaves_nothing.
HALF = st.tuples(st.just("put_writes"), CONFIGS, st.just([("log", 1), (object(), 2), ("log", 3)]), TASK_IDS)


def batches(ground: Any) -> Any:
    whole_only = isinstance(ground, SyncGround) or ground.backend is not SQLITE
    return st.lists(CALLS if whole_only else CALLS | HALF, min_size=5, max_size=40)


def disjoint(batch: Sequence[Any]) -> list[Any]:
    """Return calls that do not meet: with keys of their own, and versions, which values are stored under."""
    apart = {key(call): call for call in reversed(batch)}
    for place, call in apart.items():
        if call[0] == "put":
            versions = {name: f"{version}.{call[2]['id']}" for name, version in call[4].items()}
            apart[place] = (*call[:2], {**call[2], "channel_versions": versions}, call[3], versions)
    return list(apart.values())


def one_by_one(ground: Any, batch: Sequence[Any]) -> list[str]:
    return [ground.outcome(ground.savers[0], *call) for call in batch]


def at_once(ground: Any, batch: Sequence[Any]) -> list[str]:
    async def gathered() -> list[str]:
        return await asyncio.gather(*(aoutcome(ground.backend, ground.savers[1], *call) for call in batch))

    return ground.runner.run(gathered())  # type: ignore[no-any-return]


def in_threads(ground: Any, batch: Sequence[Any]) -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda call: ground.outcome(ground.savers[1], *call), batch))


IN_TURN = [each for each in EACH_KIND if each.values[1] != "pool"]


@pytest.mark.parametrize(("backend", "kind"), IN_TURN, indirect=["backend"])
def test_async_calls_at_once_store_what_they_store_one_by_one(
    kind: str, backend: Backend, new_store: Any
) -> None:
    """In their order, so that of those that meet the last one wins, or the first."""
    with opened(AsyncGround, backend, kind, new_store) as ground:

        @given(batch=batches(ground))
        @(STABLE if backend is SQLITE else FEWER)
        def check(batch: Any) -> None:
            ground.empty()
            assert at_once(ground, batch) == one_by_one(ground, batch)
            expected, found = map(ground.rows, ground.savers)
            assert found == expected

        check()


@pytest.mark.parametrize(("backend", "kind"), EACH_KIND, indirect=["backend"])
@pytest.mark.parametrize(("ground_type", "run"), [(SyncGround, in_threads), (AsyncGround, at_once)])
def test_calls_that_do_not_meet_store_in_any_order_what_they_store_one_by_one(
    ground_type: Any, run: Any, kind: str, backend: Backend, new_store: Any
) -> None:
    with opened(ground_type, backend, kind, new_store) as ground:

        @given(batch=batches(ground).map(disjoint))
        @(STABLE if backend is SQLITE else FEWER)
        def check(batch: Any) -> None:
            ground.empty()
            assert run(ground, batch) == one_by_one(ground, batch)
            expected, found = map(ground.rows, ground.savers)
            assert [unordered(table) for table in found] == [unordered(table) for table in expected]

        check()


@pytest.mark.parametrize(("backend", "kind"), EACH_KIND, indirect=["backend"])
@pytest.mark.parametrize("ground_type", [SyncGround, AsyncGround])
@pytest.mark.parametrize("second", [("log", print), (object(), 2)])
def test_a_call_that_fails_leaves_nothing(
    second: Any, ground_type: Any, kind: str, backend: Backend, new_store: Any
) -> None:
    with opened(ground_type, backend, kind, new_store) as ground:
        _, ours = ground.savers
        writes = [("log", 1), second, ("log", 3)]
        assert ground.outcome(ours, "put_writes", HERE, writes, "task") in ERRORS
        assert ground.outcome(ours, "put_writes", HERE, [("log", 4)], "other") == "None"
        assert [row for table in ground.rows(ours) for row in table if "task" in str(row)] == []


def unordered(rows: Sequence[Any]) -> list[Any]:
    """Return the rows without their place in the table."""
    return sorted((row if isinstance(row, str) else row[1:] for row in rows), key=repr)
