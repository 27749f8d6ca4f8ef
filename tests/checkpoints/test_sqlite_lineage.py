"""The history of DeltaChannels, beside the official savers' and the base class's own walk."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from saver_graphs import thread, trip

from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS = ["log", "messages", "never-written"]


def put(saver: Any, id: str, parent: str | None, values: dict[str, Any], log: list[Any] = []) -> Any:  # noqa: B006
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": parent}}
    checkpoint: Any = {**empty_checkpoint(), "id": id, "channel_values": values}
    stored = saver.put(config, checkpoint, {}, {})
    for number, value in enumerate(log):
        saver.put_writes(stored, [("log", value), ("other", 1)], f"task-{number}")
    return stored


@pytest.mark.parametrize("channels", [CHANNELS, ["log"], ["never-written"], []])
def test_the_history_of_every_checkpoint_is_the_official_one(trips: Path, channels: list[str]) -> None:
    with (
        OfficialSaver.from_conn_string(str(trips)) as official,
        SqliteSaver.from_conn_string(str(trips)) as ours,
    ):
        configs = [found.config for found in official.list(None)]
        expected = [official.get_delta_channel_history(config=c, channels=channels) for c in configs]
        assert [ours.get_delta_channel_history(config=c, channels=channels) for c in configs] == expected
    if "log" in channels:
        assert any("seed" in history["log"] for history in expected)
        assert any(len(history["log"]["writes"]) > 1 for history in expected)


async def test_the_async_history_is_that_of_the_base_class(trips: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(trips)) as saver:
        async for found in saver.alist(thread("booked")):
            expected = await BaseCheckpointSaver.aget_delta_channel_history(
                saver, config=found.config, channels=CHANNELS
            )
            assert await saver.aget_delta_channel_history(config=found.config, channels=CHANNELS) == expected


def test_without_an_id_the_history_is_the_heads(trips: Path) -> None:
    with SqliteSaver.from_conn_string(str(trips)) as saver:
        head = saver.get_tuple(thread("booked"))
        assert head
        expected = saver.get_delta_channel_history(config=head.config, channels=["log"])
        assert saver.get_delta_channel_history(config=thread("booked"), channels=["log"]) == expected
        assert expected["log"]["writes"]


def test_a_checkpoint_that_does_not_exist_has_an_empty_history(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "new")) as saver:
        assert saver.get_delta_channel_history(config=thread("1"), channels=["log"]) == {
            "log": {"writes": []}
        }
    assert (tmp_path / "new").stat().st_size == 0


@pytest.mark.parametrize("length", [1, 17, 700])
def test_a_long_chain_is_read_to_its_root_in_order(tmp_path: Path, length: int) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        parent = None
        for number in range(length):
            put(saver, f"{number:04}", parent, {}, [number])
            parent = f"{number:04}"
        config = put(saver, "head", parent, {})
        history = saver.get_delta_channel_history(config=config, channels=["log"])["log"]
    assert [value for _, _, value in history["writes"]] == list(range(length))
    assert "seed" not in history


def test_wide_states_are_read_few_at_a_time(tmp_path: Path) -> None:
    noise = os.urandom(3 * 2**20)
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        parent = None
        for number in range(20):
            put(saver, f"{number:04}", parent, {"noise": noise}, [number])
            parent = f"{number:04}"
        history = saver.get_delta_channel_history(config=thread("1"), channels=["log", "noise"])
    assert [value for _, _, value in history["log"]["writes"]] == list(range(19))
    assert history["noise"] == {"writes": [], "seed": noise}


def test_parents_that_loop_are_read_once(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        put(saver, "a", "c", {}, ["of a"])
        put(saver, "b", "a", {}, ["of b"])
        put(saver, "c", "b", {}, ["of c"])
        config = put(saver, "d", "c", {})
        history = saver.get_delta_channel_history(config=config, channels=["log"])
    assert [value for _, _, value in history["log"]["writes"]] == ["of a", "of b", "of c"]


@pytest.mark.parametrize("chain", ["a", "ab", "abc"])
def test_a_checkpoint_that_is_its_own_ancestor_does_not_count_its_own_writes(
    tmp_path: Path, chain: str
) -> None:
    """Its writes are for the step after it. The official walk ends there, too."""
    histories = []
    for saver_type in (OfficialSaver, SqliteSaver):
        with saver_type.from_conn_string(str(tmp_path / saver_type.__module__)) as saver:
            for id, parent in zip(chain, chain[-1] + chain, strict=False):
                config = put(saver, id, parent, {"seed": 1} if id == chain[-1] else {}, [f"of {id}"])
            histories.append(saver.get_delta_channel_history(config=config, channels=["log", "seed"]))
    assert histories[0] == histories[1]
    assert "seed" not in histories[1]["seed"]


def test_a_parent_that_is_gone_ends_the_history(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        put(saver, "b", "gone", {}, ["of b"])
        config = put(saver, "c", "b", {})
        history = saver.get_delta_channel_history(config=config, channels=["log"])
    assert [value for _, _, value in history["log"]["writes"]] == ["of b"]


def test_writes_of_parallel_tasks_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        parent = put(saver, "a", None, {})
        for task, path in (("x", "~b"), ("y", "~a"), ("z", "")):
            saver.put_writes(parent, [("log", task)], task, path)
        config = put(saver, "b", "a", {})
        history = saver.get_delta_channel_history(config=config, channels=["log"])
    assert [value for _, _, value in history["log"]["writes"]] == ["z", "y", "x"]


def test_a_file_without_task_paths_has_a_history(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "old")) as saver:
        put(saver, "a", None, {}, ["of a"])
        config = put(saver, "b", "a", {})
        saver.conn.execute("ALTER TABLE writes DROP COLUMN task_path")
        history = saver.get_delta_channel_history(config=config, channels=["log"])
    assert [value for _, _, value in history["log"]["writes"]] == ["of a"]


def test_an_encrypted_history_is_decrypted(tmp_path: Path) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
    with closing(sqlite3.connect(tmp_path / "store")) as conn:
        saver = SqliteSaver(conn, serde=serde)
        put(saver, "a", None, {"log": ["began"]}, ["of a"])
        config = put(saver, "b", "a", {})
        history = saver.get_delta_channel_history(config=config, channels=["log"])["log"]
    assert (history["seed"], history["writes"]) == (["began"], [("task-0", "log", "of a")])


def test_a_graph_goes_on_from_a_delta_channel_that_only_its_ancestors_hold(tmp_path: Path) -> None:
    states = []
    for saver_type in (OfficialSaver, SqliteSaver):
        with saver_type.from_conn_string(str(tmp_path / saver_type.__module__)) as saver:
            trip(saver).invoke({"log": ["began"]}, thread("1"))
            states.append(trip(saver).get_state(thread("1")).values["log"])
    assert states[0] == states[1] == ["began", "planned", "Oslo", "Rome", "Lima"]
