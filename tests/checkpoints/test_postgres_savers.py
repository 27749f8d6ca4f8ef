"""The PostgreSQL savers: how they are opened, whose transaction they are in, which values they hold."""

from __future__ import annotations

import asyncio
import math
import os
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from backends import EACH_KIND, IN_POSTGRES, OPTIONS, POSTGRES, Backend
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver as OfficialSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver as OfficialAsyncSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from psycopg import AsyncConnection, Connection
from psycopg.rows import args_row, class_row, dict_row, namedtuple_row, scalar_row, tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from saver_graphs import thread, travel, trip

from checkpoints.postgres import PostgresSaver
from checkpoints.postgres.aio import AsyncPostgresSaver

if TYPE_CHECKING:
    from collections.abc import Callable

ENCRYPTED = EncryptedSerializer.from_pycryptodome_aes(key=b"sixteen bytes ok")
KINDS = [each for each in EACH_KIND if each.values[0] is POSTGRES]
EVERY_KIND = pytest.mark.parametrize(("backend", "kind"), KINDS, indirect=["backend"])
NEW: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}


def holding(values: dict[str, Any], id: str | None = None) -> tuple[Any, Any]:
    """Return a checkpoint with these channel values and their new versions."""
    versions = dict.fromkeys(values, "1")
    checkpoint = {**empty_checkpoint(), "channel_values": values, "channel_versions": versions}
    return {**checkpoint, "id": id or checkpoint["id"]}, versions


@pytest.fixture
def place(database: str) -> str:
    """The URL of a database with the tables."""
    POSTGRES.prepare(database)
    return database


# Opening.


@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("serde", [None, ENCRYPTED])
def test_a_connection_string_opens_a_saver(pipeline: bool, serde: Any, place: str) -> None:
    with PostgresSaver.from_conn_string(place, pipeline=pipeline, serde=serde) as saver:
        assert isinstance(saver, BaseCheckpointSaver)
        assert isinstance(saver.conn, Connection)
        assert (saver.pipe is not None) == pipeline
        travel(saver)
        found = saver.get_tuple(thread("booked"))
        assert (saver.serde is serde) == (serde is not None)
    assert saver.conn.closed
    kinds = {row[4] for row in POSTGRES.raw(place)["checkpoint_blobs"]}
    assert all(kind.endswith("+aes") for kind in kinds) == (serde is not None)
    assert found
    assert found.checkpoint["channel_values"]["forecasts"][0] == "Paris"


@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("serde", [None, ENCRYPTED])
async def test_a_connection_string_opens_an_async_saver(pipeline: bool, serde: Any, place: str) -> None:
    async with AsyncPostgresSaver.from_conn_string(place, pipeline=pipeline, serde=serde) as saver:
        assert isinstance(saver.conn, AsyncConnection)
        assert (saver.pipe is not None) == pipeline
        assert saver.loop is asyncio.get_running_loop()
        stored = await saver.aput(NEW, *holding({"log": [1]})[:1], {}, {"log": "1"})
        assert await saver.aget_tuple(stored)
    assert saver.conn.closed


@pytest.mark.parametrize("opens", [OfficialSaver, PostgresSaver], ids=["official", "ours"])
def test_a_pool_with_a_pipeline_is_refused(opens: Any, place: str) -> None:
    with (
        psycopg.connect(place) as conn,
        conn.pipeline() as pipe,
        ConnectionPool(place, open=False) as pool,
        pytest.raises(ValueError, match=r"(?i)pipeline"),
    ):
        opens(pool, pipe)


@pytest.mark.parametrize("opens", [OfficialAsyncSaver, AsyncPostgresSaver], ids=["official", "ours"])
async def test_an_async_pool_with_a_pipeline_is_refused(opens: Any, place: str) -> None:
    async with await AsyncConnection.connect(place) as conn, conn.pipeline() as pipe:
        pool = AsyncConnectionPool(place, open=False)
        with pytest.raises(ValueError, match=r"(?i)pipeline"):
            opens(pool, pipe)


def test_the_attributes_of_the_official_saver_are_there(place: str) -> None:
    with Connection.connect(place, **OPTIONS) as conn:
        official, ours = OfficialSaver(conn), PostgresSaver(conn)
        public = {name for name in dir(official) if not name.startswith("_")}
        internal = {name for name in public if name.isupper()} - {"MIGRATIONS"}
        assert public - internal - set(dir(ours)) == set()
        assert (ours.conn, ours.pipe, ours.supports_pipeline) == (conn, None, official.supports_pipeline)
        assert type(ours.lock) is type(official.lock)
        assert len(ours.MIGRATIONS) == len(official.MIGRATIONS)


# Synchronous methods of the asynchronous saver.

CALLS: dict[str, Callable[[Any], Any]] = {
    "get_tuple": lambda saver: saver.get_tuple(NEW),
    "get": lambda saver: saver.get(NEW),
    "list": lambda saver: list(saver.list(None)),
    "put": lambda saver: saver.put(NEW, empty_checkpoint(), {}, {}),
    "put_writes": lambda saver: saver.put_writes(stored_at("1"), [("log", 1)], "task"),
    "delete_thread": lambda saver: saver.delete_thread("1"),
    "copy_thread": lambda saver: saver.copy_thread("source", "copy"),
    "prune": lambda saver: saver.prune(["1"]),
    "delete_for_runs": lambda saver: saver.delete_for_runs(["1"]),
    "get_delta_channel_history": lambda saver: saver.get_delta_channel_history(config=NEW, channels=["log"]),
}


def stored_at(id: str) -> Any:
    return {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": id}}


@EVERY_KIND
@pytest.mark.parametrize("call", CALLS)
async def test_a_synchronous_method_works_on_another_thread_and_is_refused_on_the_loop(
    call: str, kind: str, backend: Backend, place: str
) -> None:
    async with backend.aopen(place, AsyncPostgresSaver, kind) as saver:
        source: Any = {"configurable": {"thread_id": "source", "checkpoint_ns": ""}}
        await saver.aput(source, empty_checkpoint(), {}, {})
        with pytest.raises(asyncio.InvalidStateError, match="aget_tuple"):
            CALLS[call](saver)
        await asyncio.to_thread(CALLS[call], saver)


async def test_after_its_loop_has_ended_a_synchronous_method_does_not_wait_for_ever(place: str) -> None:
    async def opened() -> AsyncPostgresSaver:
        async with AsyncPostgresSaver.from_conn_string(place) as saver:
            return saver

    saver = await asyncio.to_thread(asyncio.run, opened())
    with pytest.raises(asyncio.InvalidStateError):
        saver.get_tuple(NEW)


# Connections of any kind.


class Anything:
    """Takes a row of any columns."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


FACTORIES = {
    "tuple": tuple_row,
    "dict": dict_row,
    "namedtuple": namedtuple_row,
    "scalar": scalar_row,
    "class": class_row(Anything),
    "args": args_row(Anything),
}


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("pipeline", [False, True])
def test_the_rows_of_a_connection_may_be_of_any_kind(factory: str, pipeline: bool, place: str) -> None:
    with PostgresSaver.from_conn_string(place) as saver:
        states = repr(travel(saver))
        expected = repr(list(saver.list(None)))
    with Connection.connect(place, autocommit=True, row_factory=FACTORIES[factory]) as conn:
        with conn.pipeline() as pipe:
            saver = PostgresSaver(conn, pipe if pipeline else None)
            saver.setup()
            assert repr(list(saver.list(None))) == expected
            graph = trip(saver)
            found = [list(graph.get_state_history(thread(name))) for name in ("booked", "failed")]
            assert repr(found) == states
            saver.prune(["booked"])
            saver.delete_for_runs(["none"])
        assert conn.row_factory is FACTORIES[factory]


@pytest.mark.parametrize("factory", FACTORIES)
async def test_the_rows_of_an_async_connection_too(factory: str, place: str) -> None:
    with PostgresSaver.from_conn_string(place) as saver:
        travel(saver)
        expected = repr(list(saver.list(None)))
    options = {"autocommit": True, "row_factory": FACTORIES[factory]}
    async with AsyncConnectionPool(place, min_size=1, kwargs=options) as pool:
        asaver = AsyncPostgresSaver(pool)
        await asaver.setup()
        assert repr([found async for found in asaver.alist(None)]) == expected
        await asaver.aprune(["booked"])


def test_without_autocommit_the_owner_of_the_connection_commits(place: str) -> None:
    with Connection.connect(place) as conn, PostgresSaver.from_conn_string(place) as other:
        saver = PostgresSaver(conn)
        for commits in (False, True):
            stored = saver.put(NEW, *holding({"log": [1]})[:1], {}, {"log": "1"})
            saver.put_writes(stored, [("log", 2)], "task")
            saver.copy_thread("1", f"copy {commits}")
            assert saver.get_tuple(stored)
            assert list(other.list(None)) == []
            (conn.commit if commits else conn.rollback)()
        assert len(list(other.list(None))) == 2
        saver.delete_thread("1")
        saver.prune(["copy True"], strategy="delete")
        conn.rollback()
        assert len(list(other.list(None))) == 2


def test_setup_joins_a_transaction_that_the_owner_has_open(place: str) -> None:
    with Connection.connect(place) as conn:
        saver = PostgresSaver(conn)
        assert saver.get_tuple(thread("nobody")) is None  # which opens one
        saver.setup()
        assert (conn.autocommit, conn.info.transaction_status.name) == (False, "INTRANS")


async def test_without_autocommit_the_owner_of_an_async_connection_commits(place: str) -> None:
    async with await AsyncConnection.connect(place) as conn:
        saver = AsyncPostgresSaver(conn)
        await saver.aput(NEW, *holding({"log": [1]})[:1], {}, {"log": "1"})
        await saver.acopy_thread("1", "copy")
        assert POSTGRES.raw(place)["checkpoints"] == []
        await conn.commit()
        assert len(POSTGRES.raw(place)["checkpoints"]) == 2


def test_what_is_written_on_a_pool_is_committed_with_or_without_autocommit(place: str) -> None:
    with ConnectionPool(place, min_size=1) as pool:
        saver = PostgresSaver(pool)
        stored = saver.put(NEW, *holding({"log": [1]})[:1], {}, {"log": "1"})
        saver.put_writes(stored, [("log", 2)], "task")
        saver.copy_thread("1", "copy")
        assert len(POSTGRES.raw(place)["checkpoints"]) == 2
        saver.prune(["1"], strategy="delete")
    assert [row[0] for row in POSTGRES.raw(place)["checkpoints"]] == ["copy"]


@pytest.mark.parametrize("method", ["copy_thread", "prune", "delete_for_runs"])
def test_inside_a_transaction_of_the_owner_a_call_is_a_part_of_it(method: str, place: str) -> None:
    with PostgresSaver.from_conn_string(place) as saver:
        travel(saver)
        before = POSTGRES.raw(place)
        arguments: dict[str, Any] = {
            "copy_thread": ("booked", "copy"),
            "prune": (["booked", "failed"],),
            "delete_for_runs": (["none"],),
        }
        with saver.conn.transaction(force_rollback=True):
            getattr(saver, method)(*arguments[method])
        assert POSTGRES.raw(place) == before
        getattr(saver, method)(*arguments[method])
        assert (POSTGRES.raw(place) == before) == (method == "delete_for_runs")


# Values.

EXACT: dict[str, Any] = {
    "nan": math.nan,
    "infinity": math.inf,
    "negative infinity": -math.inf,
    "negative zero": -0.0,
    "1e16": 1e16,
    "-1e300": -1e300,
    "the greatest": 1.7976931348623157e308,
    "NUL": "a\x00b",
}
PLAIN: dict[str, Any] = {
    "zero": 0.0,
    "the least": 5e-324,
    "1e-7": 1e-7,
    "9e15": 9007199254740993.0,
    "tenth": 0.1,
    "an odd sum": 0.1 + 0.2,
    "just below": math.nextafter(1e16, 0),
    "a large integer": 10**30,
    "a larger one": -(2**70),
    "true": True,
    "one": 1,
    "1.0": 1.0,
    "none": None,
    "empty": "",
    "emoji": "Zoë \U0001f600 \\u0000 \" ' \n\t\x01\x7f",
    "backslash": "\\",
}


@EVERY_KIND
def test_a_plain_value_comes_back_exactly_as_it_was(kind: str, backend: Backend, place: str) -> None:
    values = EXACT | PLAIN
    checkpoint, versions = holding(values)
    with backend.open(place, PostgresSaver, kind) as saver:
        stored = saver.put(NEW, checkpoint, {}, versions)
        found = saver.get_tuple(stored).checkpoint["channel_values"]
        [listed] = saver.list(None)
    assert {name: (type(found[name]), repr(found[name])) for name in values} == {
        name: (type(value), repr(value)) for name, value in values.items()
    }
    assert repr(listed.checkpoint["channel_values"]) == repr(found)


@pytest.mark.parametrize("name", EXACT)
def test_the_official_saver_reads_what_only_ours_can_store(name: str, place: str) -> None:
    checkpoint, versions = holding({"value": EXACT[name]})
    with PostgresSaver.from_conn_string(place) as ours, OfficialSaver.from_conn_string(place) as official:
        stored = ours.put(NEW, checkpoint, {}, versions)
        found = official.get_tuple(stored)
    assert found
    assert repr(found.checkpoint["channel_values"]) == repr({"value": EXACT[name]})
    assert len(POSTGRES.raw(place)["checkpoint_blobs"]) == 1


@pytest.mark.parametrize("name", PLAIN)
def test_what_json_can_hold_is_stored_as_the_official_saver_stores_it(name: str, database: str) -> None:
    POSTGRES.prepare(database)
    checkpoint, versions = holding({"value": PLAIN[name]})
    rows = []
    for opens in (OfficialSaver, PostgresSaver):
        with opens.from_conn_string(database) as saver:  # type: ignore[attr-defined]
            stored = saver.put(NEW, checkpoint, {}, versions)
            found = saver.get_tuple(stored)
            assert repr(found.checkpoint["channel_values"]) == repr({"value": PLAIN[name]})
        rows.append(POSTGRES.execute(database, "SELECT checkpoint::text FROM checkpoints"))
        assert POSTGRES.raw(database)["checkpoint_blobs"] == []
    assert rows[0] == rows[1]


@pytest.mark.parametrize("name", ["nan", "infinity", "NUL", "negative zero", "1e16"])
def test_the_official_saver_itself_fails_there_or_changes_it(name: str, place: str) -> None:
    """Why ours does something else. When this fails, the official saver has learned it."""
    checkpoint, versions = holding({"value": EXACT[name]})
    with OfficialSaver.from_conn_string(place) as saver:
        try:
            found = saver.get_tuple(saver.put(NEW, checkpoint, {}, versions))
        except psycopg.DataError:
            return
    assert found
    assert repr(found.checkpoint["channel_values"]["value"]) != repr(EXACT[name])


@pytest.mark.parametrize("text", ["\ud800", "x\udfff"])
def test_half_of_a_surrogate_pair_is_what_the_serializer_makes_of_it(text: str, place: str) -> None:
    """As in SQLite. The official saver cannot store it."""
    checkpoint, versions = holding({"value": text})
    with PostgresSaver.from_conn_string(place) as saver, OfficialSaver.from_conn_string(place) as official:
        expected = saver.serde.loads_typed(saver.serde.dumps_typed(text))
        with pytest.raises(psycopg.DataError):
            official.put(NEW, checkpoint, {}, versions)
        found = saver.get_tuple(saver.put(NEW, checkpoint, {}, versions))
        assert found
        assert found.checkpoint["channel_values"] == {"value": expected}


@pytest.mark.parametrize("thread_id", [7, 1.5, True, None])
def test_a_thread_id_that_is_no_text_is_taken_for_its_text(thread_id: Any, place: str) -> None:
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    with PostgresSaver.from_conn_string(place) as saver:
        stored = saver.put(config, empty_checkpoint(), {}, {})
        saver.put_writes(stored, [("log", 1)], "task")
        found = saver.get_tuple(config)
        assert [write[1:] for write in found.pending_writes or ()] == [("log", 1)]  # type: ignore[union-attr]
        assert found.config["configurable"]["thread_id"] == str(thread_id)  # type: ignore[union-attr]
        assert len(list(saver.list(config))) == 1
        saver.delete_thread(thread_id)
        assert list(saver.list(None)) == []


ODD = [
    "",
    " ",
    "é'\"\\%_\n",
    "%s",
    "%(thread_id)s",
    "x" * 2000,
    "\U0001f600",
    "a:b|c",
    "None",
    "{}",
    "$1",
    ";--",
]


@EVERY_KIND
@pytest.mark.parametrize("id", ODD)
def test_ids_may_be_any_text(id: str, kind: str, backend: Backend, place: str) -> None:
    config: Any = {"configurable": {"thread_id": id, "checkpoint_ns": id}}
    checkpoint, versions = holding({id: [id], f"{id}2": id}, id=id or "empty")
    with backend.open(place, PostgresSaver, kind) as saver:
        stored = saver.put(config, checkpoint, {"key" + id: id}, versions)
        saver.put_writes(stored, [(id, id)], id, id)
        found = saver.get_tuple(config)
        assert found.checkpoint["channel_values"] == {id: [id], f"{id}2": id}
        assert found.pending_writes == [(id, id, id)]
        [listed] = saver.list(config, filter={"key" + id: id})
        assert repr(listed) == repr(found)
        saver.delete_thread(id + "?")
        assert saver.get_tuple(config)
        saver.delete_thread(id)
        assert saver.get_tuple(config) is None


@pytest.mark.parametrize("part", ["thread_id", "checkpoint_ns", "checkpoint_id"])
def test_an_id_with_nul_is_refused_and_nothing_is_stored(part: str, place: str) -> None:
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", part: "a\x00b"}}
    checkpoint, versions = holding({"log": [1]})
    with PostgresSaver.from_conn_string(place) as saver:
        with pytest.raises(psycopg.DataError):
            saver.put(config, checkpoint, {}, versions)
        with pytest.raises(psycopg.DataError):
            saver.put_writes(
                {"configurable": {"checkpoint_id": "1", **config["configurable"]}}, [("log", 1)], "t"
            )
        assert not any(POSTGRES.raw(place).values())


@EVERY_KIND
def test_ten_thousand_writes_are_stored_by_one_call(kind: str, backend: Backend, place: str) -> None:
    writes = [(f"channel {n % 7}", n) for n in range(10_000)]
    with backend.open(place, PostgresSaver, kind) as saver:
        stored = saver.put(NEW, empty_checkpoint(), {}, {})
        saver.put_writes(stored, writes, "task")
        saver.put_writes(stored, [(channel, -n) for channel, n in writes], "task")  # the first ones stay
        found = saver.get_tuple(stored)
    assert [write[1:] for write in found.pending_writes] == writes


@IN_POSTGRES
def test_a_value_of_50_mb_is_stored_and_read(backend: Backend, place: str) -> None:
    large = os.urandom(50 * 2**20)
    checkpoint, versions = holding({"large": large})
    with backend.open(place, PostgresSaver, "pool") as saver:
        stored = saver.put(NEW, checkpoint, {}, versions)
        assert saver.get_tuple(stored).checkpoint["channel_values"] == {"large": large}


@EVERY_KIND
def test_values_of_some_megabytes_are_stored_and_read(kind: str, backend: Backend, place: str) -> None:
    large, text = os.urandom(5 * 2**20), "é" * (5 * 2**19)
    checkpoint, versions = holding({"large": large, "text": text})
    with backend.open(place, PostgresSaver, kind) as saver:
        stored = saver.put(NEW, checkpoint, {}, versions)
        saver.put_writes(stored, [("large", large), ("text", text)], "task")
        found = saver.get_tuple(stored)
    assert found.checkpoint["channel_values"] == {"large": large, "text": text}
    assert found.pending_writes == [("task", "large", large), ("task", "text", text)]


@IN_POSTGRES
def test_a_checkpoint_of_two_thousand_channels_is_stored_and_read(backend: Backend, place: str) -> None:
    values = {f"channel {n}": [n] if n % 2 else n for n in range(2_000)}
    checkpoint, versions = holding(values)
    with backend.open(place, PostgresSaver) as saver:
        stored = saver.put(NEW, checkpoint, {}, versions)
        assert saver.get_tuple(stored).checkpoint["channel_values"] == values
