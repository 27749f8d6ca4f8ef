"""Checkpoints of before version 4, whose tasks are writes of the parent: read as if written today.

The SQLite savers, the official one and ours, leave them there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from backends import EACH_KIND, IN_POSTGRES, POSTGRES, Backend
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import Send

if TYPE_CHECKING:
    from collections.abc import Callable

ENCRYPTED = EncryptedSerializer.from_pycryptodome_aes(key=b"sixteen bytes ok")
KINDS = [each for each in EACH_KIND if each.values[0] is POSTGRES]
EVERY_KIND = pytest.mark.parametrize(("backend", "kind"), KINDS, indirect=["backend"])


def at(thread_id: str, id: str | None = None, ns: str = "") -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": id}}


def put(saver: Any, thread_id: str, ns: str = "", v: int = 3, ids: str = "ab", **more: Any) -> None:
    """Store a parent whose tasks sent others, and its child of an old release."""
    versions = {"log": "1", "branch": "2"}
    old = {**empty_checkpoint(), "channel_versions": versions, "channel_values": {"log": [1], "branch": "x"}}
    parent = saver.put(at(thread_id, None, ns), {**old, "id": ids[0], "v": v}, {}, versions)
    for task, path in (("task-2", "~b"), ("task-1", "~c"), ("task-3", "~a")):
        writes = [(TASKS, Send("work", f"{thread_id}{ns}{task}")), ("log", 2), (TASKS, Send("rest", [task]))]
        saver.put_writes(parent, writes, task, path)
    saver.put(parent, {**old, "id": ids[1], "v": v, **more}, {}, {})


@pytest.fixture
def place(backend: Backend, new_store: Callable[[], str]) -> str:
    """A store with two such threads, one of which has a subgraph, and a thread of today."""
    place = new_store()
    with backend.open(place, backend.official.sync) as saver:
        put(saver, "1")
        put(saver, "1", ns="inner", ids="cd")
        put(saver, "2", v=1)
        put(saver, "3", v=4)
    return place


@EVERY_KIND
@pytest.mark.parametrize("thread_id", ["1", "2", "3"])
def test_a_checkpoint_has_the_tasks_that_the_official_saver_finds(
    thread_id: str, kind: str, backend: Backend, place: str
) -> None:
    with (
        backend.open(place, backend.official.sync) as official,
        backend.open(place, backend.ours.sync, kind=kind) as ours,
    ):
        expected = official.get_tuple(at(thread_id))
        assert backend.text(ours.get_tuple(at(thread_id))) == backend.text(expected)
        assert backend.text(list(ours.list(at(thread_id)))) == backend.text(
            list(official.list(at(thread_id)))
        )
    sent = [send.arg for send in expected.checkpoint["channel_values"].get(TASKS, [])]
    in_order = ["task-3", "task-2", "task-1"]  # of their paths
    assert sent == ([] if thread_id == "3" else [arg for t in in_order for arg in (f"{thread_id}{t}", [t])])


@EVERY_KIND
async def test_the_async_saver_finds_them_too(kind: str, backend: Backend, place: str) -> None:
    with backend.open(place, backend.ours.sync) as sync:
        expected = backend.text(list(sync.list(None)))
        head = backend.text(sync.get_tuple(at("1", ns="inner")))
    async with backend.aopen(place, backend.ours.aio, kind=kind) as saver:
        assert backend.text([found async for found in saver.alist(None)]) == expected
        assert backend.text(await saver.aget_tuple(at("1", ns="inner"))) == head


@IN_POSTGRES
def test_a_listing_of_all_threads_finds_those_of_each(backend: Backend, place: str) -> None:
    """The official saver looks in the thread that comes first, and there in every namespace."""
    with backend.open(place, backend.ours.sync) as saver:
        put(saver, "1", ns="twin")  # with the ids of the root's
        listed = list(saver.list(None))
        assert len(listed) == 10
        for found in listed:
            assert backend.text(saver.get_tuple(found.config)) == backend.text(found)
    sent = {
        (found.config["configurable"]["thread_id"], found.config["configurable"]["checkpoint_ns"]): [
            send.arg for send in found.checkpoint["channel_values"].get(TASKS, [])
        ]
        for found in listed
        if found.parent_config
    }
    assert sorted(sent) == [("1", ""), ("1", "inner"), ("1", "twin"), ("2", ""), ("3", "")]
    assert sent["3", ""] == []
    for place_of in (("1", ""), ("1", "inner"), ("1", "twin"), ("2", "")):
        assert len(sent[place_of]) == 6
        assert sent[place_of][0] == f"{''.join(place_of)}task-3"


@IN_POSTGRES
def test_encrypted_tasks_are_found(backend: Backend, new_store: Callable[[], str]) -> None:
    place = new_store()
    with backend.open(place, backend.ours.sync, serde=ENCRYPTED) as saver:
        put(saver, "1")
        found = saver.get_tuple(at("1"))
    with backend.open(place, backend.official.sync, serde=ENCRYPTED) as official:
        assert backend.text(official.get_tuple(at("1"))) == backend.text(found)
    assert len(found.checkpoint["channel_values"][TASKS]) == 6


@IN_POSTGRES
@pytest.mark.parametrize("versions", [{}, {"log": "1", "branch": "2"}])
def test_the_channel_of_the_tasks_has_the_latest_version(
    versions: dict[str, str], backend: Backend, new_store: Callable[[], str]
) -> None:
    with backend.open(new_store(), backend.ours.sync) as saver:
        put(saver, "1", channel_versions=versions)
        found = saver.get_tuple(at("1")).checkpoint["channel_versions"]
    assert found.keys() == {*versions, TASKS}
    assert not versions or found[TASKS] == "2"


@IN_POSTGRES
@pytest.mark.parametrize("versions", [{}, {"log": 1, "branch": "2"}])
def test_versions_that_nobody_can_compare_are_no_reason_to_fail(
    versions: dict[str, Any], backend: Backend, new_store: Callable[[], str]
) -> None:
    with backend.open(new_store(), backend.ours.sync) as saver:
        put(saver, "1", channel_versions=versions)
        found = saver.get_tuple(at("1")).checkpoint
        assert found["channel_versions"][TASKS].startswith("0" * 31 + "1.")
        assert len(found["channel_values"][TASKS]) == 6
