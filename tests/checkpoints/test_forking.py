"""Forks in place beside LangGraph's own copies: what they store, and how a graph goes on from them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from copies import in_order
from graphs import asking, config, joining
from thread_graphs import LIKELIEST, SHAPES, Threads, go_on, thread

from checkpoints.errors import CheckpointNotFound, ForkRefused, ThreadNotFound
from checkpoints.forking import Forked, afork, fork
from checkpoints.saver.ids import following
from checkpoints.stores.siblings import AUTHOR, REASON

if TYPE_CHECKING:
    from collections.abc import Iterator

ANEW = {"id", "ts"}
KEPT = {"user_id", "tenant"}


def address(thread_id: str, id: str | None = None, ns: str = "") -> Any:
    named = {"checkpoint_id": id} if id else {}
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns, **named}}


def all_of(threads: Threads, name: str) -> Iterator[tuple[str, str]]:
    """Yield the namespace and the id of each checkpoint of a thread."""
    for row in threads.rows(name).checkpoints:
        yield row[0], row[1]


def told(at: Any) -> str:
    """Return what a saver tells of a checkpoint but its id, time and the application's metadata."""
    checkpoint = {key: value for key, value in at.checkpoint.items() if key not in ANEW}
    metadata = {key: value for key, value in at.metadata.items() if key not in KEPT}
    return in_order((checkpoint, metadata, at.parent_config, at.pending_writes))


def outcome(name: str, way: str, threads: Threads, thread_id: str) -> Any:
    """Go on with a thread; a graph may not be made for being taken up anywhere."""
    try:
        return go_on(name, way, threads.official, thread_id)
    except AttributeError as error:
        return str(error)


@pytest.mark.parametrize("name", SHAPES)
def test_a_fork_of_any_checkpoint_is_langgraph_s_copy_of_it(name: str, threads: Threads) -> None:
    graph = SHAPES[name].build(threads.official)
    for ns, id in list(all_of(threads, name)):
        if ns:
            continue
        theirs = graph.update_state(address(name, id), None, as_node="__copy__")
        ours = fork(threads.place, name, id)
        copied = threads.official.get_tuple(address(name))
        assert (copied.config, copied.metadata["source"]) == (address(name, ours.checkpoint_id), "fork")
        assert told(copied) == told(threads.official.get_tuple(theirs))


@pytest.mark.parametrize("name", ["nested", "map", "memory, asking", "memory, done"])
def test_a_fork_in_a_subgraph_is_langgraph_s_copy_there(name: str, threads: Threads) -> None:
    graph, forked = SHAPES[name].build(threads.official), 0
    for ns, id in list(all_of(threads, name)):
        at = address(name, id, ns)
        if not ns or "|" in ns:
            continue
        theirs = graph.update_state(at, None, as_node="__copy__")
        fork(threads.place, name, id, ns)
        copied = threads.official.get_tuple(address(name, ns=ns))
        assert told(copied) == told(threads.official.get_tuple(theirs))
        forked += 1
    assert forked


@pytest.mark.parametrize(("name", "way"), LIKELIEST)
def test_a_graph_goes_on_from_a_fork_as_from_langgraph_s_copy(name: str, way: str, threads: Threads) -> None:
    ids = [id for ns, id in all_of(threads, name) if not ns]
    for number, id in enumerate(ids[:: 1 if threads.backend.name == "sqlite" else 4]):
        ours, theirs = f"{name} {number} ours", f"{name} {number} theirs"
        for copy in (ours, theirs):
            threads.ours.copy_thread(name, copy)
        SHAPES[name].build(threads.official).update_state(address(theirs, id), None, as_node="__copy__")
        fork(threads.place, ours, id)
        assert outcome(name, way, threads, ours) == outcome(name, way, threads, theirs)


@pytest.mark.parametrize("name", ["interrupt", "delta, forked"])
def test_only_one_row_is_written_and_no_value(name: str, threads: Threads) -> None:
    before = threads.rows(name)
    forked = fork(threads.place, name, before.checkpoints[1][1])
    after = threads.rows(name)
    assert (len(after.checkpoints), after.writes, after.blobs) == (
        len(before.checkpoints) + 1,
        before.writes,
        before.blobs,
    )
    assert [row for row in after.checkpoints if row not in before.checkpoints] == [
        row for row in after.checkpoints if row[1] == forked.checkpoint_id
    ]
    assert {table: size.rows for table, size in forked.tables.items()} == {"checkpoints": 1}
    assert forked.tables["checkpoints"].bytes > 100


def test_the_application_s_metadata_stays_and_reason_and_author_are_told(threads: Threads) -> None:
    graph = asking(threads.official)
    graph.invoke({"log": []}, {**config("kept", user_id="ana", score=1.5, run_id="r1")})
    before = threads.official.get_tuple(address("kept"))
    fork(threads.place, "kept", reason='the "wrong" order 🙂', author="ben")
    after = threads.official.get_tuple(address("kept"))
    assert before.metadata["run_id"] == "r1"
    assert after.metadata == {
        "source": "fork",
        "step": before.metadata["step"] + 1,
        "parents": {},
        "user_id": "ana",
        "score": 1.5,
        REASON: 'the "wrong" order 🙂',
        AUTHOR: "ben",
    }
    fork(threads.place, "kept")
    again = threads.official.get_tuple(address("kept"))
    assert again.metadata == {
        key: value for key, value in after.metadata.items() if key not in (REASON, AUTHOR)
    } | {"step": before.metadata["step"] + 2}


@pytest.mark.parametrize("name", ["interrupt", "fan-out", "functional", "failed"])
def test_what_is_forked_keeps_its_own_state_and_writes(name: str, threads: Threads) -> None:
    graph = SHAPES[name].build(threads.official)
    before = list(graph.get_state_history(thread(name)))
    fork(threads.place, name)
    head, *after = graph.get_state_history(thread(name))
    assert list(map(in_order, after)) == list(map(in_order, before))
    assert (head.values, head.next) == (before[0].values, before[0].next)
    assert head.parent_config == before[0].parent_config


def test_without_an_id_the_head_is_forked(threads: Threads) -> None:
    head = threads.official.get_tuple(address("interrupt"))
    forked = fork(threads.place, "interrupt")
    assert isinstance(forked, Forked)
    assert (forked.thread_id, forked.checkpoint_ns, forked.namespaces) == ("interrupt", "", ("",))
    assert forked.checkpoint_id > head.checkpoint["id"]


def test_forks_of_forks_each_become_the_head(threads: Threads) -> None:
    ids = [fork(threads.place, "interrupt").checkpoint_id for _ in range(5)]
    assert ids == sorted(set(ids))
    assert threads.official.get_tuple(address("interrupt")).checkpoint["id"] == ids[-1]


async def test_the_asynchronous_twin_does_the_same(threads: Threads) -> None:
    forked = await afork(threads.place, "interrupt", reason="why")
    head = await asyncio.to_thread(threads.official.get_tuple, address("interrupt"))
    assert (head.checkpoint["id"], head.metadata[REASON]) == (forked.checkpoint_id, "why")


@pytest.mark.parametrize("seconds", [-60, 0, 60, 3600])
def test_what_an_agent_stores_next_comes_after_a_fork_also_when_its_clock_is_off(
    seconds: int, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    now = time.time_ns
    graph = joining(threads.official)
    graph.invoke({"log": []}, thread("skewed"))
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", lambda: now() + seconds * 10**9)
        fork(threads.place, "skewed")
    graph.invoke({"log": ["next"]}, thread("skewed"))
    assert graph.get_state(thread("skewed")).values["log"][-4:] == ["a", "b1", "b2", "join"]


def test_an_id_follows_one_of_a_clock_that_is_ahead() -> None:
    ahead = "1ffe0000-0000-6000-8000-000000000000"
    found = following(ahead, 3)
    assert found > ahead
    assert found.startswith("1ffe0000-0000-6001-8003")
    assert following("1ffe0000-0000-6fff-8000-000000000000", 3).startswith("1ffe0000-0001-6000-8003")
    assert following(None, -1)[14] == "6"


@pytest.mark.parametrize("head", ["zzz", "ffffffff-ffff-6fff-bfff-ffffffffffff", "é"])
def test_where_no_id_follows_nothing_is_forked(head: str, threads: Threads) -> None:
    threads.execute(
        "UPDATE checkpoints SET checkpoint_id = ? WHERE thread_id = 'joined' AND checkpoint_id ="
        " (SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = 'joined')",
        head,
    )
    before = threads.everything()
    with pytest.raises(ForkRefused, match="which no id of LangGraph's comes after"):
        fork(threads.place, "joined")
    assert threads.everything() == before


def test_what_is_not_there_is_not_forked(threads: Threads) -> None:
    with pytest.raises(ThreadNotFound):
        fork(threads.place, "nobody")
    with pytest.raises(CheckpointNotFound):
        fork(threads.place, "interrupt", "1ffe0000-0000-6000-8000-000000000000")
    with pytest.raises(CheckpointNotFound):
        fork(threads.place, "interrupt", threads.rows("joined").checkpoints[0][1])
    for odd in ("a\0b", "\udcff"):
        with pytest.raises(ForkRefused):
            fork(threads.place, odd)
