"""The history of DeltaChannels, beside the official savers' and the base class's own walk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from backends import EACH_KIND, IN_SQLITE, SQLITE, Backend
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from saver_graphs import thread, travel, trip

from checkpoints.sqlite import SqliteSaver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHANNELS = ["log", "messages", "never-written"]


def put(saver: Any, id: str, parent: str | None, values: dict[str, Any], log: list[Any] = []) -> Any:  # noqa: B006
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": parent}}
    versions = dict.fromkeys(values, id)
    checkpoint: Any = {**empty_checkpoint(), "id": id, "channel_values": values, "channel_versions": versions}
    stored = saver.put(config, checkpoint, {}, versions)
    for number, value in enumerate(log):
        saver.put_writes(stored, [("log", value), ("other", 1)], f"task-{number}")
    return stored


@pytest.fixture
def saver(backend: Backend, new_store: Callable[[], str]) -> Iterator[Any]:
    """Our saver on an empty store."""
    with backend.open(new_store(), backend.ours.sync) as saver:
        yield saver


@pytest.fixture(scope="module")
def travelled(backend: Backend, new_stores: Callable[[], str]) -> str:
    """A store that the official saver wrote, not to be written to."""
    place = new_stores()
    with backend.open(place, backend.official.sync) as saver:
        travel(saver)
    return place


@pytest.mark.parametrize("channels", [CHANNELS, ["log"], ["never-written"], []])
@pytest.mark.parametrize(("backend", "kind"), EACH_KIND, indirect=["backend"])
def test_the_history_of_every_checkpoint_is_the_official_one(
    backend: Backend, kind: str, travelled: str, channels: list[str]
) -> None:
    with (
        backend.open(travelled, backend.official.sync) as official,
        backend.open(travelled, backend.ours.sync, kind=kind) as ours,
    ):
        configs = [found.config for found in official.list(None)]
        expected = [official.get_delta_channel_history(config=c, channels=channels) for c in configs]
        assert [ours.get_delta_channel_history(config=c, channels=channels) for c in configs] == expected
    if "log" in channels:
        assert any("seed" in history["log"] for history in expected)
        assert any(len(history["log"]["writes"]) > 1 for history in expected)


@pytest.mark.parametrize(("backend", "kind"), EACH_KIND, indirect=["backend"])
async def test_the_async_history_is_that_of_the_base_class(
    backend: Backend, kind: str, travelled: str
) -> None:
    async with backend.aopen(travelled, backend.ours.aio, kind=kind) as saver:
        async for found in saver.alist(thread("booked")):
            expected = await BaseCheckpointSaver.aget_delta_channel_history(
                saver, config=found.config, channels=CHANNELS
            )
            assert await saver.aget_delta_channel_history(config=found.config, channels=CHANNELS) == expected


def test_without_an_id_the_history_is_the_heads(backend: Backend, travelled: str) -> None:
    with backend.open(travelled, backend.ours.sync) as saver:
        head = saver.get_tuple(thread("booked"))
        assert head
        expected = saver.get_delta_channel_history(config=head.config, channels=["log"])
        assert saver.get_delta_channel_history(config=thread("booked"), channels=["log"]) == expected
        assert expected["log"]["writes"]


def test_a_checkpoint_that_does_not_exist_has_an_empty_history(saver: Any) -> None:
    for config in (thread("1"), {"configurable": {"thread_id": "1", "checkpoint_id": "none"}}):
        found = saver.get_delta_channel_history(config=config, channels=["log"])
        assert found == {"log": {"writes": []}}


@IN_SQLITE
def test_reading_a_history_writes_nothing_to_a_new_file(backend: Backend, tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "new")) as saver:
        assert saver.get_delta_channel_history(config=thread("1"), channels=["log"])
    assert (tmp_path / "new").stat().st_size == 0


@pytest.mark.parametrize("channel", ["log", "other"])
def test_a_plain_value_is_what_a_history_starts_from_and_null_is_none(
    backend: Backend, channel: str, new_store: Callable[[], str]
) -> None:
    histories = []
    for build in (backend.official.sync, backend.ours.sync):
        with backend.open(new_store(), build) as saver:
            put(saver, "a", None, {"log": "plain", "other": 1.5}, ["of a"])
            put(saver, "b", "a", {"log": None, "other": 0}, ["of b"])
            config = put(saver, "c", "b", {})
            histories.append(saver.get_delta_channel_history(config=config, channels=[channel]))
    assert histories[0] == histories[1]
    assert histories[1][channel]["seed"] in ("plain", 0, None)


@pytest.mark.parametrize("length", [1, 17, 127, 128, 129, 700])
def test_a_long_chain_is_read_to_its_root_in_order(saver: Any, length: int) -> None:
    parent = None
    for number in range(length):
        put(saver, f"{number:04}", parent, {}, [number])
        parent = f"{number:04}"
    config = put(saver, "head", parent, {})
    history = saver.get_delta_channel_history(config=config, channels=["log"])["log"]
    assert [value for _, _, value in history["writes"]] == list(range(length))
    assert "seed" not in history


def test_wide_states_are_read_few_at_a_time(saver: Any) -> None:
    noise = os.urandom(3 * 2**20)
    parent = None
    for number in range(20):
        put(saver, f"{number:04}", parent, {"noise": noise}, [number])
        parent = f"{number:04}"
    history = saver.get_delta_channel_history(config=thread("1"), channels=["log", "noise"])
    assert [value for _, _, value in history["log"]["writes"]] == list(range(19))
    assert history["noise"] == {"writes": [], "seed": noise}


def test_parents_that_loop_are_read_once(saver: Any) -> None:
    put(saver, "a", "c", {}, ["of a"])
    put(saver, "b", "a", {}, ["of b"])
    put(saver, "c", "b", {}, ["of c"])
    config = put(saver, "d", "c", {})
    history = saver.get_delta_channel_history(config=config, channels=["log"])
    assert [value for _, _, value in history["log"]["writes"]] == ["of a", "of b", "of c"]


@pytest.mark.parametrize("chain", ["a", "ab", "abc"])
def test_a_checkpoint_that_is_its_own_ancestor_does_not_count_its_own_writes(
    backend: Backend, new_store: Callable[[], str], chain: str
) -> None:
    """Its writes are for the step after it. The official walk of SQLite ends there, too; the other never."""
    histories = []
    for build in (SQLITE.official.sync, backend.ours.sync):
        of = SQLITE if build is SQLITE.official.sync else backend
        with of.open(":memory:" if of is SQLITE else new_store(), build) as saver:
            for id, parent in zip(chain, chain[-1] + chain, strict=False):
                config = put(saver, id, parent, {"seed": 1} if id == chain[-1] else {}, [f"of {id}"])
            histories.append(saver.get_delta_channel_history(config=config, channels=["log", "seed"]))
    assert histories[0] == histories[1]
    assert "seed" not in histories[1]["seed"]


def test_a_parent_that_is_gone_ends_the_history(saver: Any) -> None:
    put(saver, "b", "gone", {}, ["of b"])
    config = put(saver, "c", "b", {})
    history = saver.get_delta_channel_history(config=config, channels=["log"])
    assert [value for _, _, value in history["log"]["writes"]] == ["of b"]


def test_writes_of_parallel_tasks_come_in_the_order_of_their_paths(saver: Any) -> None:
    parent = put(saver, "a", None, {})
    for task, path in (("x", "~b"), ("y", "~a"), ("z", "")):
        saver.put_writes(parent, [("log", task)], task, path)
    config = put(saver, "b", "a", {})
    history = saver.get_delta_channel_history(config=config, channels=["log"])
    assert [value for _, _, value in history["log"]["writes"]] == ["z", "y", "x"]


def test_a_store_without_task_paths_has_a_history(backend: Backend, saver: Any) -> None:
    put(saver, "a", None, {}, ["of a"])
    config = put(saver, "b", "a", {})
    saver.conn.execute(f"ALTER TABLE {backend.tables[-1]} DROP COLUMN task_path")
    history = saver.get_delta_channel_history(config=config, channels=["log"])
    assert [value for _, _, value in history["log"]["writes"]] == ["of a"]


def test_an_encrypted_history_is_decrypted(backend: Backend, new_store: Callable[[], str]) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
    with backend.open(new_store(), backend.ours.sync, serde=serde) as saver:
        put(saver, "a", None, {"log": ["began"]}, ["of a"])
        config = put(saver, "b", "a", {})
        history = saver.get_delta_channel_history(config=config, channels=["log"])["log"]
    assert (history["seed"], history["writes"]) == (["began"], [("task-0", "log", "of a")])


def test_a_graph_goes_on_from_a_delta_channel_that_only_its_ancestors_hold(
    backend: Backend, new_store: Callable[[], str]
) -> None:
    states = []
    for build in (backend.official.sync, backend.ours.sync):
        with backend.open(new_store(), build) as saver:
            trip(saver).invoke({"log": ["began"]}, thread("1"))
            states.append(trip(saver).get_state(thread("1")).values["log"])
    assert states[0] == states[1] == ["began", "planned", "Oslo", "Rome", "Lima"]


def test_parents_with_greater_ids_are_followed(saver: Any) -> None:
    """The clock of the process that wrote them was ahead. Nothing but the link says what came before."""
    put(saver, "9", None, {"log": ["began"]}, ["of 9"])
    put(saver, "8", "9", {}, ["of 8"])
    put(saver, "5", "8", {}, ["of 5"])
    config = put(saver, "7", "5", {})
    history = saver.get_delta_channel_history(config=config, channels=["log"])["log"]
    assert history["seed"] == ["began"]
    assert [value for _, _, value in history["writes"]] == ["of 9", "of 8", "of 5"]
    assert (
        history
        == BaseCheckpointSaver.get_delta_channel_history(saver, config=config, channels=["log"])["log"]
    )


def test_a_checkpoint_of_another_namespace_is_no_ancestor(saver: Any) -> None:
    put(saver, "a", None, {"log": ["of the root"]}, ["of a"])
    inner: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "inner", "checkpoint_id": "a"}}
    stored = saver.put(inner, {**empty_checkpoint(), "id": "b"}, {}, {})
    assert saver.get_delta_channel_history(config=stored, channels=["log"]) == {"log": {"writes": []}}
