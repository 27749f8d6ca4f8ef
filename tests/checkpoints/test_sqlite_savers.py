"""Our SQLite savers beside the official ones: same states, same rows, same objects."""

from __future__ import annotations

import inspect
import random
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSaver
from langgraph.types import Command
from saver_graphs import CITIES, atravel, dump, plain, thread, travel, trip

from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from pathlib import Path

FILTERS: list[dict[str, Any]] = [
    {"source": "loop"},
    {"source": "loop", "step": 2},
    {"step": True},  # SQLite's true is 1
    {"step": 2.0},
    {"user_id": "user of failed"},
    {"parents": {}},
    {"parents": {"": "nothing"}},
    {"nothing": None},
    {"source": None},
    {"counters_since_delta_snapshot": {"log": [1, 1]}},
    {"counters_since_delta_snapshot.log": [1, 1]},
    {"no-such.key_1": 1},
    {"user_id": ("a", "tuple")},
]


def listed(path: Path, saver: type[Any], *args: Any, **kwargs: Any) -> list[Any]:
    with saver.from_conn_string(str(path)) as opened:
        return list(opened.list(*args, **kwargs))


async def alisted(path: Path, saver: type[Any], *args: Any, **kwargs: Any) -> list[Any]:
    async with saver.from_conn_string(str(path)) as opened:
        return [found async for found in opened.alist(*args, **kwargs)]


def test_a_run_leaves_the_states_and_rows_that_the_official_saver_leaves(tmp_path: Path, trips: Path) -> None:
    with OfficialSaver.from_conn_string(":memory:") as saver:
        expected = travel(saver)
    with SqliteSaver.from_conn_string(str(tmp_path / "ours")) as saver:
        assert plain(travel(saver)) == plain(expected)
    assert dump(tmp_path / "ours") == dump(trips)


async def test_an_async_run_leaves_the_states_and_rows_that_the_official_saver_leaves(
    tmp_path: Path, trips: Path
) -> None:
    async with OfficialAsyncSaver.from_conn_string(":memory:") as saver:
        expected = await atravel(saver)
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "ours")) as saver:
        assert plain(await atravel(saver)) == plain(expected)
    assert dump(tmp_path / "ours") == dump(trips)


@pytest.mark.parametrize("durability", ["exit", "sync"])
def test_every_durability_leaves_equal_rows(tmp_path: Path, durability: Any) -> None:
    for saver_type in (OfficialSaver, SqliteSaver):
        with saver_type.from_conn_string(str(tmp_path / saver_type.__module__)) as saver:
            trip(saver).invoke({"log": ["began"]}, thread("1"), durability=durability)
    assert dump(tmp_path / OfficialSaver.__module__) == dump(tmp_path / SqliteSaver.__module__)


@pytest.mark.parametrize(("first", "second"), [(OfficialSaver, SqliteSaver), (SqliteSaver, OfficialSaver)])
def test_either_saver_resumes_what_the_other_interrupted(tmp_path: Path, first: Any, second: Any) -> None:
    with first.from_conn_string(str(tmp_path / "trip")) as saver:
        interrupted = trip(saver).invoke({"log": ["began"]}, thread("1"))
    with second.from_conn_string(str(tmp_path / "trip")) as saver:
        state = trip(saver).invoke(Command(resume="yes"), thread("1"))
    assert "__interrupt__" in interrupted
    assert [message.id for message in state["messages"]] == ["plan", *(f"tool-{c}" for c in CITIES), "booked"]


@pytest.mark.parametrize("config", [None, thread("booked"), {"configurable": {"thread_id": "none"}}])
@pytest.mark.parametrize("limit", [None, -1, 0, 1, 7])
async def test_listing_returns_the_official_objects(trips: Path, config: Any, limit: int | None) -> None:
    expected = listed(trips, OfficialSaver, config, limit=limit)
    assert listed(trips, SqliteSaver, config, limit=limit) == expected
    assert await alisted(trips, AsyncSqliteSaver, config, limit=limit) == expected


async def test_getting_returns_the_official_object_for_every_checkpoint(trips: Path) -> None:
    for expected in listed(trips, OfficialSaver, None):
        with SqliteSaver.from_conn_string(str(trips)) as saver:
            found = saver.get_tuple(expected.config)
            assert found == expected
            assert found.config is expected.config
        async with AsyncSqliteSaver.from_conn_string(str(trips)) as saver:
            assert await saver.aget_tuple(expected.config) == expected


@pytest.mark.parametrize("namespace", ["", "root", None])
def test_without_an_id_the_head_of_the_namespace_is_returned(trips: Path, namespace: str | None) -> None:
    configs = listed(trips, OfficialSaver, thread("booked"))
    subgraph = next(c.config for c in configs if c.config["configurable"]["checkpoint_ns"])["configurable"]
    for ns in (namespace, subgraph["checkpoint_ns"]):
        config: Any = {"configurable": {"thread_id": "booked", "checkpoint_ns": ns}}
        with OfficialSaver.from_conn_string(str(trips)) as official:
            expected = official.get_tuple(config)
        with SqliteSaver.from_conn_string(str(trips)) as saver:
            assert saver.get_tuple(config) == expected


@pytest.mark.parametrize("metadata", FILTERS, ids=str)
async def test_a_filter_finds_what_it_finds_officially(trips: Path, metadata: dict[str, Any]) -> None:
    expected = listed(trips, OfficialSaver, None, filter=metadata)
    assert listed(trips, SqliteSaver, None, filter=metadata) == expected
    assert await alisted(trips, AsyncSqliteSaver, thread("booked"), filter=metadata) == [
        found for found in expected if found.config["configurable"]["thread_id"] == "booked"
    ]


def test_the_filters_of_these_tests_find_some_and_leave_out_some(trips: Path) -> None:
    found = [len(listed(trips, OfficialSaver, None, filter=metadata)) for metadata in FILTERS]
    everything = len(listed(trips, OfficialSaver, None))
    assert sum(0 < count < everything for count in found) >= 6


@pytest.mark.parametrize("key", ["", "a'b", "a b", "a[0]", 'a"b', "a') OR 1=1 --", "ä", "a$"])
def test_a_filter_key_that_is_refused_officially_is_refused(trips: Path, key: str) -> None:
    for saver in (OfficialSaver, SqliteSaver):
        with pytest.raises(ValueError, match="Invalid filter key"):
            listed(trips, saver, None, filter={key: 1})


@pytest.mark.parametrize("config", [None, thread("failed")])
def test_before_leaves_out_the_checkpoint_and_all_greater_ones(trips: Path, config: Any) -> None:
    for before in listed(trips, OfficialSaver, config):
        expected = listed(trips, OfficialSaver, config, before=before.config)
        assert listed(trips, SqliteSaver, config, before=before.config) == expected
    assert listed(trips, SqliteSaver, config, before=thread("no id")) == []


@pytest.mark.parametrize("config", [None, {"configurable": {"thread_id": "1"}}])
def test_pages_keep_the_official_order_among_equal_ids(tmp_path: Path, config: Any) -> None:
    """Copied threads have equal ids; the boundary of a page must neither skip nor repeat one."""
    chance = random.Random(7)
    with OfficialSaver.from_conn_string(str(tmp_path / "ties")) as saver:
        saver.conn.execute("PRAGMA synchronous=OFF")
        for _ in range(900):
            thread_id, namespace = chance.choice("123"), str(chance.randrange(50))
            where: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace}}
            saver.put(where, {**empty_checkpoint(), "id": str(chance.randrange(9))}, {}, {})
        expected = [found.config for found in saver.list(config)]
    assert [found.config for found in listed(tmp_path / "ties", SqliteSaver, config)] == expected
    assert len(expected) > 64 * 3  # more than a page, and ties of more than a page


def test_delta_channel_history_is_the_official_one(trips: Path) -> None:
    channels = ["log", "messages", "nothing"]
    for found in listed(trips, OfficialSaver, None):
        with OfficialSaver.from_conn_string(str(trips)) as official:
            expected = official.get_delta_channel_history(config=found.config, channels=channels)
        with SqliteSaver.from_conn_string(str(trips)) as saver:
            assert saver.get_delta_channel_history(config=found.config, channels=channels) == expected


async def test_async_delta_channel_history_is_the_official_one(trips: Path) -> None:
    async with (
        OfficialAsyncSaver.from_conn_string(str(trips)) as official,
        AsyncSqliteSaver.from_conn_string(str(trips)) as saver,
    ):
        expected = await official.aget_delta_channel_history(config=thread("booked"), channels=["log"])
        found = await saver.aget_delta_channel_history(config=thread("booked"), channels=["log"])
    assert found == expected
    assert expected["log"]["writes"]


def test_deleting_a_thread_leaves_what_the_official_saver_leaves(tmp_path: Path, trips: Path) -> None:
    for saver_type in (OfficialSaver, SqliteSaver):
        copy = shutil.copy(trips, tmp_path / saver_type.__module__)
        with saver_type.from_conn_string(copy) as saver:
            saver.delete_thread("booked")
    assert dump(tmp_path / SqliteSaver.__module__) == dump(tmp_path / OfficialSaver.__module__) != []


@pytest.mark.parametrize("current", [None, 3, "00000000000000000000000000000007.0.25"])
@pytest.mark.parametrize("chance", [0.5, 0.13436424411240122, 1e-07])
def test_the_next_version_is_the_official_one(
    monkeypatch: pytest.MonkeyPatch, current: Any, chance: float
) -> None:
    monkeypatch.setattr(random, "random", lambda: chance)
    with OfficialSaver.from_conn_string(":memory:") as official:
        expected = official.get_next_version(current, None)
    with SqliteSaver.from_conn_string(":memory:") as saver:
        assert saver.get_next_version(current, None) == expected


def rows_of(saver: Any) -> list[Any]:
    """Store checkpoints and writes, some of them twice, and return the rows as they are."""
    here: Any = {"configurable": {"thread_id": 1, "checkpoint_ns": "é", "checkpoint_id": "1", "user": "Zoë"}}
    for value in ("first", "second"):
        checkpoint = {**empty_checkpoint(), "id": "2", "ts": "", "channel_values": {"a": value}}
        assert (
            saver.put(here, checkpoint, {"place": {"city": "Zürich"}}, {})["configurable"]["thread_id"] == 1
        )
        saver.put_writes(here, [("a", value), ("b", value)], "regular", "path")
        saver.put_writes(here, [(ERROR, value), (INTERRUPT, value)], "special", "path")
        saver.put_writes(here, [("a", value), (RESUME, value)], "mixed")
        saver.put_writes(here, [], "nothing")
    with saver.cursor(transaction=False) as cursor:
        tables = ("checkpoints", "writes")
        return [
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4, 6").fetchall() for table in tables
        ]


def test_rows_are_the_official_ones_byte_for_byte() -> None:
    with OfficialSaver.from_conn_string(":memory:") as saver:
        expected = rows_of(saver)
    with SqliteSaver.from_conn_string(":memory:") as saver:
        assert rows_of(saver) == expected


def test_a_filter_finds_an_object_with_letters_beyond_ascii() -> None:
    with SqliteSaver.from_conn_string(":memory:") as saver:
        rows_of(saver)
        assert len(list(saver.list(None, filter={"place": {"city": "Zürich"}, "user": "Zoë"}))) == 1


@pytest.mark.parametrize(
    ("ours", "official"), [(SqliteSaver, OfficialSaver), (AsyncSqliteSaver, OfficialAsyncSaver)]
)
def test_public_methods_have_the_official_parameters(ours: type, official: type) -> None:
    for name, method in inspect.getmembers(official, inspect.isroutine):
        if not name.startswith("_"):
            expected = [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
            found = inspect.signature(getattr(ours, name)).parameters.values()
            assert [(p.name, p.kind, p.default) for p in found] == expected, name


def test_public_attributes_are_the_official_ones(trips: Path) -> None:
    path = str(trips)
    with OfficialSaver.from_conn_string(path) as official, SqliteSaver.from_conn_string(path) as ours:
        assert_attributes(ours, official)


async def test_public_attributes_of_the_async_saver_are_the_official_ones(trips: Path) -> None:
    async with (
        OfficialAsyncSaver.from_conn_string(str(trips)) as official,
        AsyncSqliteSaver.from_conn_string(str(trips)) as ours,
    ):
        assert_attributes(ours, official)


def assert_attributes(ours: BaseCheckpointSaver[str], official: BaseCheckpointSaver[str]) -> None:
    for name, value in vars(official).items():
        assert type(vars(ours)[name]) is type(value), name
    assert ours.config_specs == official.config_specs


async def test_the_synchronous_saver_names_the_asynchronous_one() -> None:
    writes = ({"configurable": {}}, [], "task")
    with SqliteSaver.from_conn_string(":memory:") as saver:
        calls = [
            saver.aget(thread("1")),
            saver.aget_tuple(thread("1")),
            anext(saver.alist(None)),
            saver.aput(thread("1"), empty_checkpoint(), {}, {}),
            saver.aput_writes(*writes),
            saver.adelete_thread("1"),
            saver.aget_delta_channel_history(config=thread("1"), channels=["log"]),
        ]
        for call in calls:
            with pytest.raises(NotImplementedError, match="AsyncSqliteSaver"):
                await call


class NoCipher:
    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "none", plaintext

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return ciphertext


class MarkingSerializer(JsonPlusSerializer):
    def loads_metadata(self, raw: bytes | str | None) -> dict[str, Any]:
        return {"read from": raw}


@pytest.mark.parametrize("serde", [MarkingSerializer(), EncryptedSerializer(NoCipher(), MarkingSerializer())])
def test_a_serializer_may_bring_its_own_reading_of_metadata(trips: Path, serde: Any) -> None:
    with closing(sqlite3.connect(trips)) as conn:
        found = SqliteSaver(conn, serde=serde).get_tuple(thread("booked"))
    assert found is not None
    assert b'"user_id": "user of booked"' in found.metadata["read from"]


def test_an_allowlist_gives_a_saver_on_the_same_connection(trips: Path) -> None:
    strict = JsonPlusSerializer(allowed_msgpack_modules=None)
    with closing(sqlite3.connect(trips)) as conn:
        saver = SqliteSaver(conn, serde=strict)
        derived = saver.with_allowlist([("decimal", "Decimal")])
        assert derived is not saver
        assert derived.get_tuple(thread("booked")) == saver.get_tuple(thread("booked"))


def test_a_row_without_metadata_has_empty_metadata(tmp_path: Path, trips: Path) -> None:
    copy = str(shutil.copy(trips, tmp_path / "trips"))
    with SqliteSaver.from_conn_string(copy) as saver, saver.cursor() as cursor:
        cursor.execute("UPDATE checkpoints SET metadata = NULL")
    found = listed(tmp_path / "trips", SqliteSaver, None)
    assert [each.metadata for each in found] == [{}] * len(found) != []
    assert found == listed(tmp_path / "trips", OfficialSaver, None)
