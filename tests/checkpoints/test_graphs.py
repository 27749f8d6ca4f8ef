"""Real graphs with our savers beside the same with the official ones: same states, same rows."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from backends import EACH_KIND, IN_POSTGRES, IN_SQLITE, Backend, Pair
from graph_runs import aplay, lines, play, rows
from graph_scenarios import OF_SQLITE, SCENARIOS, one_trip
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from saver_graphs import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from langgraph.checkpoint.serde.base import SerializerProtocol

# Whose savers take turns on one store.
TURNS: dict[str, Callable[[Backend], Sequence[Pair]]] = {
    "ours": lambda backend: [backend.ours],
    "official begins": lambda backend: [backend.official, backend.ours],
    "ours begins": lambda backend: [backend.ours, backend.official],
}
EVERY = SCENARIOS | OF_SQLITE

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

# Those that a saver does most for, where all of them would take long.
TELLING = [
    "agent_with_tools",
    "several_interrupts_by_id",
    "subgraphs_with_a_memory",
    "map_and_reduce",
    "time_travel",
    "failures",
    "durability_async",
    "durability_exit",
    "differences_3",
    "odd_threads",
]


class Run(NamedTuple):
    """What the calls of a scenario told, and what it left in the store, as plain text."""

    told: list[str]
    rows: list[str]


def run(
    backend: Backend,
    place: str,
    scenario: str,
    turns: Sequence[Pair],
    way: str = "sync",
    serde: Any = PLAIN,
    kind: str = "connection",
) -> Run:
    random.seed(7)  # versions of channels end in a random number, by which LangGraph tells branches apart
    told = WAYS[way](backend, place, scenario, turns, serde, kind)
    return Run(lines(plain(told)), rows(backend.stored(place, serde)))


def run_sync(
    backend: Backend, place: str, scenario: str, turns: Sequence[Pair], serde: Any, kind: str
) -> list[Any]:
    with ExitStack() as stack:
        savers = [
            stack.enter_context(backend.open(place, pair.sync, kind=kind, serde=serde)) for pair in turns
        ]
        return play(EVERY[scenario], savers)


async def run_async(
    backend: Backend,
    place: str,
    scenario: str,
    turns: Sequence[Pair],
    serde: Any,
    kind: str,
    how: Any = aplay,
) -> list[Any]:
    async with AsyncExitStack() as stack:
        savers = [
            await stack.enter_async_context(backend.aopen(place, pair.aio, kind=kind, serde=serde))
            for pair in turns
        ]
        return await how(EVERY[scenario], savers)  # type: ignore[no-any-return]


async def play_on_another_thread(*args: Any) -> list[Any]:
    return await asyncio.to_thread(play, *args)


WAYS: dict[str, Callable[..., list[Any]]] = {
    "sync": run_sync,
    "async": lambda *args: asyncio.run(run_async(*args)),
    "thread": lambda *args: asyncio.run(run_async(*args, play_on_another_thread)),
}


@pytest.fixture(scope="module")
def official(backend: Backend, new_stores: Callable[[], str]) -> Callable[[str, str], tuple[Run, str]]:
    """What a scenario is with the official saver, run once in each way."""

    @cache
    def expect(way: str, scenario: str) -> tuple[Run, str]:
        place = new_stores()
        return run(backend, place, scenario, [backend.official], way), place

    return expect


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_our_saver_does_what_the_official_one_does(
    scenario: str, way: str, turns: str, backend: Backend, official: Any, new_store: Any
) -> None:
    expected, _ = official(way, scenario)
    found = run(backend, new_store(), scenario, TURNS[turns](backend), way)
    assert found.told == expected.told
    assert found.rows == expected.rows


@IN_SQLITE
@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("scenario", OF_SQLITE)
def test_our_saver_does_so_with_what_only_sqlite_can_hold(
    scenario: str, turns: str, backend: Backend, official: Any, new_store: Any
) -> None:
    expected, _ = official("sync", scenario)
    assert run(backend, new_store(), scenario, TURNS[turns](backend)) == expected


@IN_POSTGRES
@pytest.mark.parametrize("kind", ["pool", "pipeline"])
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("scenario", TELLING)
def test_our_saver_does_so_on_a_pool_and_in_a_pipeline(
    scenario: str, way: str, kind: str, backend: Backend, official: Any, new_store: Any
) -> None:
    expected, _ = official(way, scenario)
    found = run(backend, new_store(), scenario, [backend.ours], way, kind=kind)
    assert found.told == expected.told
    assert found.rows == expected.rows


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_our_async_saver_does_so_for_a_graph_on_another_thread(
    scenario: str, backend: Backend, official: Any, new_store: Any
) -> None:
    expected, _ = official("sync", scenario)
    assert run(backend, new_store(), scenario, [backend.ours], "thread") == expected


@pytest.mark.parametrize("scenario", SEEN)
def test_a_scenario_does_what_its_name_says(scenario: str, official: Any) -> None:
    expected, _ = official("sync", scenario)
    text = ", ".join((*expected.told, *expected.rows))
    assert [fragment for fragment in SEEN[scenario] if fragment not in text] == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_savers_read_the_same_objects(scenario: str, backend: Backend, official: Any) -> None:
    """The very objects, with their ids and times, that `plain` text leaves out."""
    _, place = official("sync", scenario)
    with backend.open(place, backend.official.sync) as theirs, backend.open(place, backend.ours.sync) as ours:
        listed = list(theirs.list(None))
        assert backend.text(list(ours.list(None))) == backend.text(listed)
        for found in listed:
            assert backend.text(ours.get_tuple(found.config)) == backend.text(found)
            of: Any = {"config": found.config, "channels": list(found.checkpoint["channel_versions"])}
            expected = theirs.get_delta_channel_history(**of)
            assert repr(ours.get_delta_channel_history(**of)) == repr(expected)


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("scenario", ["types", "nested_subgraphs", "copies"])
def test_our_saver_does_so_with_any_serializer(
    scenario: str, way: str, serializer: str, backend: Backend, new_store: Any
) -> None:
    serde = SERIALIZERS[serializer]
    expected = run(backend, new_store(), scenario, [backend.official], way, serde)
    assert run(backend, new_store(), scenario, [backend.ours], way, serde) == expected
    assert run(backend, new_store(), scenario, [backend.ours, backend.official], way, serde) == expected


def test_an_encrypted_store_holds_no_plain_value(backend: Backend, new_store: Any) -> None:
    """In PostgreSQL no value that a serializer sees: plain ones are JSON, as the official saver has it."""
    place = new_store()
    run(backend, place, "types", [backend.ours], serde=SERIALIZERS["encrypted"])
    raw = [row for table in backend.encrypted for row in backend.raw(place)[table]]
    assert raw
    for row in raw:
        assert any(str(part).endswith("+aes") for part in row)
        assert not any(isinstance(part, bytes) and b"98-1143" in part for part in row)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_allowlist_lets_a_saver_revive_these_types(way: str, backend: Backend, new_store: Any) -> None:
    def allowing(savers: Pair) -> Pair:
        return Pair(
            *(lambda conn, serde, s=saver: s(conn, serde=serde).with_allowlist(ALLOWED) for saver in savers)
        )

    strict = SERIALIZERS["strict"]
    expected = run(backend, new_store(), "types", [allowing(backend.official)], way, strict)
    found = run(backend, new_store(), "types", [allowing(backend.ours)], way, strict)
    assert found == expected
    assert not is_stripped(found.told)
    assert is_stripped(run(backend, new_store(), "types", [backend.ours], way, strict).told)


def is_stripped(text: list[str]) -> bool:
    """Whether a dataclass came back without its type."""
    return any("{'x': 1" in part for part in text)


STRICT = """
import sys
from backends import BACKENDS
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from test_graphs import is_stripped, run

[backend] = [each for each in BACKENDS if each.name == sys.argv[1]]
for way, ours, official in (("sync", *sys.argv[2:4]), ("async", *sys.argv[4:6])):
    serde = JsonPlusSerializer()
    found = run(backend, ours, "types", [backend.ours], way, serde)
    assert found == run(backend, official, "types", [backend.official], way, serde)
    print(is_stripped(found.told), is_stripped(found.rows))
"""


def test_a_strict_process_revives_the_types_of_its_graph(backend: Backend, new_store: Any) -> None:
    """LangGraph then derives the saver that it uses from ours, with the types of the state allowed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LANGGRAPH_STRICT_MSGPACK": "true"}
    command = [sys.executable, "-c", STRICT, backend.name, *(new_store() for _ in range(4))]
    told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert told == "False True\n" * 2


@pytest.mark.parametrize(("backend", "kind"), EACH_KIND, indirect=["backend"])
async def test_many_graphs_at_once_on_one_async_saver_are_each_as_if_alone(
    kind: str, backend: Backend, new_store: Any
) -> None:
    async def trips(saver: Any, together: Callable[..., Awaitable[Any]]) -> Any:
        return await together(*(aplay(one_trip(n), [saver]) for n in range(20)))

    async def in_turn(*runs: Awaitable[Any]) -> list[Any]:
        return [await each for each in runs]

    theirs, ours = new_store(), new_store()
    async with backend.aopen(theirs, backend.official.aio) as saver:
        expected = await trips(saver, in_turn)
    async with backend.aopen(ours, backend.ours.aio, kind=kind) as saver:
        found = await trips(saver, asyncio.gather)
        listed = await asyncio.to_thread(lambda: list(saver.list(None)))
    with backend.open(ours, backend.official.sync) as official:
        assert backend.text(listed) == backend.text(list(official.list(None)))
    assert [plain(told) for told in found] == [plain(told) for told in expected]
    assert rows(backend.stored(ours, PLAIN)) == rows(backend.stored(theirs, PLAIN))


@pytest.mark.parametrize(("backend", "kind"), EACH_KIND, indirect=["backend"])
def test_many_graphs_at_once_on_one_saver_are_each_as_if_alone(
    kind: str, backend: Backend, new_store: Any
) -> None:
    theirs, ours = new_store(), new_store()
    with backend.open(theirs, backend.official.sync) as saver:
        expected = [play(one_trip(n), [saver]) for n in range(12)]
    with backend.open(ours, backend.ours.sync, kind=kind) as saver, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: play(one_trip(n), [saver]), range(12)))
    assert [plain(told) for told in found] == [plain(told) for told in expected]
    assert rows(backend.stored(ours, PLAIN)) == rows(backend.stored(theirs, PLAIN))
