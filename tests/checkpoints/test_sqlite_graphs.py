"""Real graphs with our SQLite savers beside the same with the official ones: same states, same rows."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, closing
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import aiosqlite
import pytest
from graph_runs import aplay, lines, play, rows
from graph_scenarios import SCENARIOS, one_trip
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSaver
from saver_graphs import plain

from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from langgraph.checkpoint.serde.base import SerializerProtocol

# What opens a saver on a connection: the synchronous one, the asynchronous one.
OFFICIAL = (OfficialSaver, OfficialAsyncSaver)
OURS = (SqliteSaver, AsyncSqliteSaver)
TURNS = {"ours": [OURS], "official begins": [OFFICIAL, OURS], "ours begins": [OURS, OFFICIAL]}

PLAIN = JsonPlusSerializer()
ALLOWED = [("graphs", "Point"), ("graphs", "Order"), ("graph_matrix", "Mood")]
SERIALIZERS: dict[str, SerializerProtocol] = {
    "encrypted": EncryptedSerializer.from_pycryptodome_aes(key=b"sixteen bytes ok"),
    "strict": JsonPlusSerializer(allowed_msgpack_modules=None),
    "strict with a list": JsonPlusSerializer(allowed_msgpack_modules=ALLOWED),
    "strict and encrypted": EncryptedSerializer.from_pycryptodome_aes(
        JsonPlusSerializer(allowed_msgpack_modules=None), key=b"sixteen bytes ok"
    ),
}
# What must be seen in a run of a scenario, or it does not do what its name says.
SEEN = {
    "agent_with_tools": ["'price:ink buy:pen price:pad'", "basket': ['pen']", "status='error'"],
    "interrupts_in_a_loop": ["'2", "5']"],
    "several_interrupts_by_id": ["review:ID", "Interrupt(value=0", "Interrupt(value=2", "'2: poor'"],
    "nested_subgraphs": ["|inner:ID", "'edited inside'", "'middle:ID"],
    "subgraphs_with_a_memory": ["'checkpoint_ns': 'inner'", "'n is 321'"],
    "time_travel": ["'source': 'fork'", "'other'"],
    "bulk_updates": ["'bulk b2'", "'source': 'fork'"],
    "copies": ["'source': 'fork'", "counters_since_delta_snapshot"],
    "failures": ["ValueError('out of order')", "'repaired': True"],
    "functions": ["'answer 3: 6'", "'before': 2"],
    "types": ["Point(x=3", "array([[0", "<Mood.CALM: 'calm'>", "Decimal('240.00')"],
    "differences_1": ["_DeltaSnapshot(value=", "Overwrite(value=['anew']", "'forked'"],
    "durability_exit": ["'sun in Oslo'", "ValueError('not booked')"],
}


class Run(NamedTuple):
    """What the calls of a scenario told, and what it left in the file, as plain text."""

    told: list[str]
    rows: list[str]


def run(way: str, path: Path, scenario: str, turns: Sequence[Any], serde: Any = PLAIN) -> Run:
    random.seed(7)  # versions of channels end in a random number, by which LangGraph tells branches apart
    told = WAYS[way](path, scenario, turns, serde)
    return Run(lines(plain(told)), rows(path, serde))


def run_sync(path: Path, scenario: str, turns: Sequence[Any], serde: Any) -> list[Any]:
    with ExitStack() as stack:
        savers = []
        for opens, _ in turns:
            conn = stack.enter_context(closing(sqlite3.connect(path, check_same_thread=False)))
            savers.append(opens(conn, serde=serde))
        return play(SCENARIOS[scenario], savers)


async def run_async(
    path: Path, scenario: str, turns: Sequence[Any], serde: Any, how: Any = aplay
) -> list[Any]:
    async with AsyncExitStack() as stack:
        savers = []
        for _, opens in turns:
            conn = await stack.enter_async_context(aiosqlite.connect(path))
            savers.append(opens(conn, serde=serde))
        return await how(SCENARIOS[scenario], savers)  # type: ignore[no-any-return]


async def play_on_another_thread(*args: Any) -> list[Any]:
    return await asyncio.to_thread(play, *args)


WAYS: dict[str, Callable[..., list[Any]]] = {
    "sync": run_sync,
    "async": lambda *args: asyncio.run(run_async(*args)),
    "thread": lambda *args: asyncio.run(run_async(*args, play_on_another_thread)),
}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Run, Path]]:
    """What a scenario is with the official saver, run once in each way."""

    @cache
    def expect(way: str, scenario: str) -> tuple[Run, Path]:
        path = tmp_path_factory.mktemp("official") / "store"
        return run(way, path, scenario, [OFFICIAL]), path

    return expect


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_our_saver_does_what_the_official_one_does(
    scenario: str, way: str, turns: str, official: Any, tmp_path: Path
) -> None:
    expected, _ = official(way, scenario)
    found = run(way, tmp_path / "store", scenario, TURNS[turns])
    assert found.told == expected.told
    assert found.rows == expected.rows


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_our_async_saver_does_so_for_a_graph_on_another_thread(
    scenario: str, official: Any, tmp_path: Path
) -> None:
    expected, _ = official("sync", scenario)
    assert run("thread", tmp_path / "store", scenario, [OURS]) == expected


@pytest.mark.parametrize("scenario", SEEN)
def test_a_scenario_does_what_its_name_says(scenario: str, official: Any) -> None:
    expected, _ = official("sync", scenario)
    text = ", ".join((*expected.told, *expected.rows))
    assert [fragment for fragment in SEEN[scenario] if fragment not in text] == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_savers_read_the_same_objects(scenario: str, official: Any) -> None:
    """The very objects, with their ids and times, that `plain` text leaves out."""
    _, path = official("sync", scenario)
    with OfficialSaver.from_conn_string(str(path)) as theirs, SqliteSaver.from_conn_string(str(path)) as ours:
        listed = list(theirs.list(None))
        assert repr(list(ours.list(None))) == repr(listed)
        for found in listed:
            assert repr(ours.get_tuple(found.config)) == repr(found)
            of: Any = {"config": found.config, "channels": list(found.checkpoint["channel_versions"])}
            expected = theirs.get_delta_channel_history(**of)
            assert repr(ours.get_delta_channel_history(**of)) == repr(expected)


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("scenario", ["types", "nested_subgraphs", "copies"])
def test_our_saver_does_so_with_any_serializer(
    scenario: str, way: str, serializer: str, tmp_path: Path
) -> None:
    serde = SERIALIZERS[serializer]
    expected = run(way, tmp_path / "official", scenario, [OFFICIAL], serde)
    assert run(way, tmp_path / "ours", scenario, [OURS], serde) == expected
    assert run(way, tmp_path / "both", scenario, [OURS, OFFICIAL], serde) == expected


def test_an_encrypted_store_holds_no_plain_value(tmp_path: Path) -> None:
    run("sync", tmp_path / "store", "types", [OURS], SERIALIZERS["encrypted"])
    with closing(sqlite3.connect(tmp_path / "store")) as conn:
        types = conn.execute("SELECT type FROM checkpoints UNION SELECT type FROM writes").fetchall()
        values = conn.execute("SELECT checkpoint FROM checkpoints UNION SELECT value FROM writes").fetchall()
    assert all(kind.endswith("+aes") for (kind,) in types)
    assert not any(b"98-1143" in value for (value,) in values)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_allowlist_lets_a_saver_revive_these_types(way: str, tmp_path: Path) -> None:
    def allowing(savers: Sequence[Any]) -> list[Any]:
        return [lambda conn, serde, s=saver: s(conn, serde=serde).with_allowlist(ALLOWED) for saver in savers]

    strict = SERIALIZERS["strict"]
    expected = run(way, tmp_path / "official", "types", [allowing(OFFICIAL)], strict)
    found = run(way, tmp_path / "ours", "types", [allowing(OURS)], strict)
    assert found == expected
    assert not is_stripped(found.told)
    assert is_stripped(run(way, tmp_path / "not", "types", [OURS], strict).told)


def is_stripped(text: list[str]) -> bool:
    """Whether a dataclass came back without its type."""
    return any("'point': {'x': 1" in part for part in text)


STRICT = """
import sys, pathlib
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from test_sqlite_graphs import OFFICIAL, OURS, is_stripped, run

folder = pathlib.Path(sys.argv[1])
for way in ("sync", "async"):
    found, expected = (
        run(way, folder / f"{way} {name}", "types", [savers], JsonPlusSerializer())
        for name, savers in (("ours", OURS), ("official", OFFICIAL))
    )
    assert found == expected
    print(is_stripped(found.told), is_stripped(found.rows))
"""


def test_a_strict_process_revives_the_types_of_its_graph(tmp_path: Path) -> None:
    """LangGraph then derives the saver that it uses from ours, with the types of the state allowed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LANGGRAPH_STRICT_MSGPACK": "true"}
    command = [sys.executable, "-c", STRICT, str(tmp_path)]
    told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert told == "False True\n" * 2


async def test_many_graphs_at_once_on_one_async_saver_are_each_as_if_alone(tmp_path: Path) -> None:
    async def trips(saver: Any, together: Callable[..., Awaitable[Any]]) -> Any:
        return await together(*(aplay(one_trip(n), [saver]) for n in range(20)))

    async def in_turn(*runs: Awaitable[Any]) -> list[Any]:
        return [await each for each in runs]

    async with OfficialAsyncSaver.from_conn_string(str(tmp_path / "official")) as saver:
        expected = await trips(saver, in_turn)
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "ours")) as saver:
        found = await trips(saver, asyncio.gather)
        listed = await asyncio.to_thread(lambda: list(saver.list(None)))
    with OfficialSaver.from_conn_string(str(tmp_path / "ours")) as official:
        assert repr(listed) == repr(list(official.list(None)))
    assert [plain(told) for told in found] == [plain(told) for told in expected]
    assert rows(tmp_path / "ours", PLAIN) == rows(tmp_path / "official", PLAIN)


def test_many_graphs_at_once_on_one_saver_are_each_as_if_alone(tmp_path: Path) -> None:
    with OfficialSaver.from_conn_string(str(tmp_path / "official")) as saver:
        expected = [play(one_trip(n), [saver]) for n in range(12)]
    with SqliteSaver.from_conn_string(str(tmp_path / "ours")) as saver, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: play(one_trip(n), [saver]), range(12)))
    assert [plain(told) for told in found] == [plain(told) for told in expected]
    assert rows(tmp_path / "ours", PLAIN) == rows(tmp_path / "official", PLAIN)
