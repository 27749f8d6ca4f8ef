"""Forks with other values: what they store, what LangGraph reads of it, and how a graph goes on."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from backends import IN_POSTGRES, IN_SQLITE
from copies import channel_bytes, in_order
from graphs import Order, ask_order, chat, joining
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.types import Command, Overwrite
from test_forking import address, all_of
from test_outline import stored
from thread_graphs import SHAPES, YES, Threads, thread

from checkpoints.errors import KeyUnusable, ValueRefused
from checkpoints.forking import fork
from checkpoints.inert import DeltaSnapshot, InertSerializer
from checkpoints.splicing import msgpacked
from checkpoints.typedjson import parse, written

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = b"sixteen byte key"


def values_of(threads: Threads, thread_id: str, id: str | None = None) -> dict[str, Any]:
    """Return the values of a checkpoint, their objects closed."""
    config = address(thread_id, id)
    with threads.backend.open(threads.place, threads.backend.ours.sync, serde=InertSerializer()) as saver:
        return saver.get_tuple(config).checkpoint["channel_values"]


def edited(
    threads: Threads, thread_id: str, channel: str, change: Callable[[str], str], **kwargs: Any
) -> Any:
    """Fork with the text of a channel changed, and return what the official saver reads of the head."""
    text = written(values_of(threads, thread_id, kwargs.get("checkpoint_id"))[channel])
    fork(threads.place, thread_id, values={channel: parse(change(text))}, **kwargs)
    return threads.official.get_tuple(address(thread_id))


def replacing(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


def test_objects_stay_what_they_are(threads: Threads) -> None:
    ask_order(threads.official, "chat")
    before = threads.official.get_tuple(address("chat")).checkpoint
    head = edited(threads, "chat", "order", replacing("240.00", "1.50"))
    head = edited(threads, "chat", "messages", replacing("It was shipped.", "It is lost."))
    values = head.checkpoint["channel_values"]
    assert values["order"] == Order(id="98-1143", paid=Decimal("1.50"))
    assert values["messages"][-1] == AIMessage("It is lost.", id=before["channel_values"]["messages"][-1].id)
    assert values["messages"][:-1] == before["channel_values"]["messages"][:-1]
    others = values.keys() - {"order", "messages"}
    assert {name: values[name] for name in others} == {
        name: before["channel_values"][name] for name in others
    }


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("functional", "functional, done")])
def test_only_the_edited_channel_gets_a_version_and_a_value(name: str, threads: Threads) -> None:
    channel = "messages" if name.startswith(("agent", "trip")) else "log"
    for ns, id in list(all_of(threads, name))[::3]:
        values = values_of(threads, name, id) if not ns else {}
        if channel not in values:
            continue
        before = threads.official.get_tuple(address(name, id)).checkpoint
        fork(threads.place, name, id, values={channel: values[channel]})
        after = threads.official.get_tuple(address(name)).checkpoint
        assert in_order(after["channel_values"]) == in_order(before["channel_values"])
        versions = dict(after["channel_versions"])
        new = versions.pop(channel)
        assert new > max(before["channel_versions"].values())
        assert len(new.partition(".")[0]) == 32
        assert versions == {k: v for k, v in before["channel_versions"].items() if k != channel}
        assert after["versions_seen"] == before["versions_seen"]


@IN_SQLITE
@pytest.mark.parametrize("name", ["agent with tools", "trip", "delta 2", "fan-out"])
def test_every_other_byte_stays(name: str, threads: Threads) -> None:
    channel = "messages" if name != "delta 2" and name != "fan-out" else "n"
    head = max(id for ns, id in all_of(threads, name) if not ns)
    before = channel_bytes(threads.place, name)["", head]
    forked = fork(threads.place, name, head, values={channel: parse("[1, 2]")})
    after = channel_bytes(threads.place, name)["", forked.checkpoint_id]
    assert after.pop(channel) == b"\x92\x01\x02"
    before.pop(channel, None)
    assert list(after.items()) == list(before.items())


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        2.5,
        float("nan"),
        1e300,
        "text",
        "a\0b",
        b"\xff",
        [1, "a"],
        {"a": {1: 2}},
        [],
        "x" * 200_000,
    ],
    ids=repr,
)
def test_any_plain_value_can_be_put_into_a_channel(value: Any, threads: Threads) -> None:
    fork(threads.place, "interrupt", values={"n": value})
    found = threads.official.get_tuple(address("interrupt")).checkpoint["channel_values"]["n"]
    assert (type(found), repr(found)) == (type(value), repr(value))


@pytest.mark.parametrize("name", ["joined", "interrupt", "resumed", "fan-out", "failed, mended", "trip"])
def test_a_graph_goes_on_as_after_an_update_that_overwrites(name: str, threads: Threads) -> None:
    """Ours is a sibling with the value; LangGraph's a copy and, as its child, the update of a node."""
    channel = "forecasts" if name == "trip" else "log"
    graph = SHAPES[name].build(threads.official)
    ours, theirs = f"{name} ours", f"{name} theirs"
    for copy in (ours, theirs):
        threads.ours.copy_thread(name, copy)
    history = [state for state in graph.get_state_history(thread(name)) if state.next and state.parent_config]
    state = next(each for each in history if wrote(each, history, graph, name))
    node = wrote(state, history, graph, name)
    at = state.config["configurable"]["checkpoint_id"]
    graph.update_state(address(theirs, at), {channel: Overwrite(["edited", "mended"])}, as_node=node)
    fork(threads.place, ours, at, values={channel: parse('["edited", "mended"]')})
    heads = [graph.get_state(thread(each)) for each in (ours, theirs)]
    assert heads[0].values == heads[1].values
    assert heads[0].next == heads[1].next == state.next
    ends = []
    for each in (ours, theirs):
        given = YES if graph.get_state(thread(each)).interrupts else None
        graph.invoke(given, thread(each))
        graph.invoke(YES, thread(each))
        end = graph.get_state(thread(each))
        ends.append((end.values, end.next, [asked.value for asked in end.interrupts]))
    assert ends[0] == ends[1]


def wrote(state: Any, history: list[Any], graph: Any, name: str) -> str | None:
    """Return the only node that made a state out of its parent."""
    parent = graph.get_state(state.parent_config) if state.parent_config else None
    named = [task.name for task in parent.tasks] if parent else []
    return named[0] if len(named) == 1 and not named[0].startswith("__") else None


def test_an_edit_is_what_the_nodes_see_that_run_next(threads: Threads) -> None:
    graph = joining(threads.official)
    state = next(at for at in graph.get_state_history(thread("joined")) if at.next == ("b1", "b2"))
    fork(threads.place, "joined", state.config["configurable"]["checkpoint_id"], values={"log": ["edited"]})
    assert graph.get_state(thread("joined")).next == ("b1", "b2")
    assert graph.invoke(None, thread("joined"))["log"] == ["edited", "b1", "b2", "join"]


def test_a_tool_call_that_is_edited_is_made(threads: Threads) -> None:
    graph = chat(threads.official)
    graph.invoke({"messages": [HumanMessage("Where is it?", id="h")]}, thread("tools"))
    asked = next(at for at in graph.get_state_history(thread("tools")) if at.next == ("tools",))
    id = asked.config["configurable"]["checkpoint_id"]
    head = edited(threads, "tools", "messages", replacing("98-1143", "77-0001"), checkpoint_id=id)
    assert head.checkpoint["channel_values"]["messages"][-1].tool_calls[0]["args"]["id"] == "77-0001"
    messages = graph.invoke(None, thread("tools"))["messages"]
    assert [type(each) for each in messages[-2:]] == [ToolMessage, AIMessage]


@pytest.mark.parametrize(
    "name", ["delta 1", "delta 2", "delta 100", "delta, forked", "delta at exit", "trip"]
)
def test_a_delta_channel_is_stored_whole_and_goes_on_from_there(name: str, threads: Threads) -> None:
    graph = SHAPES[name].build(threads.official)
    before = graph.get_state(thread(name)).values
    fork(threads.place, name, values={"log": ["whole", "edited"]})
    state = graph.get_state(thread(name))
    assert state.values == {**before, "log": ["whole", "edited"]}
    assert "log" not in state.metadata.get("counters_since_delta_snapshot", {})
    given = Command(resume="yes") if state.interrupts else SHAPES[name].given
    after = graph.invoke(given, thread(name))["log"]
    assert after[:2] == ["whole", "edited"]
    assert len(after) > 2
    assert graph.get_state(thread(name)).values["log"] == after


def test_a_snapshot_that_is_edited_stays_one(threads: Threads) -> None:
    ids = [id for ns, id in all_of(threads, "delta 1") if "log" in values_of(threads, "delta 1", id)]
    held = {id: values_of(threads, "delta 1", id)["log"] for id in ids}
    texts = {id: written(value) for id, value in held.items()}
    id = next(id for id, text in texts.items() if "work 0" in text)
    assert isinstance(held[id].open(), DeltaSnapshot)
    assert '"$type": "DeltaSnapshot"' in texts[id]
    fork(threads.place, "delta 1", id, values={"log": parse(texts[id].replace("work", "edited"))})
    graph = SHAPES["delta 1"].build(threads.official)
    assert "edited 0" in graph.get_state(thread("delta 1")).values["log"]


def test_several_channels_are_edited_at_once(threads: Threads) -> None:
    fork(threads.place, "interrupt", values={"log": ["a"], "n": 5, "added": {"x": 1}})
    head = threads.official.get_tuple(address("interrupt")).checkpoint
    assert {name: head["channel_values"][name] for name in ("log", "n", "added")} == {
        "log": ["a"],
        "n": 5,
        "added": {"x": 1},
    }
    assert len({head["channel_versions"][name] for name in ("log", "n", "added")}) == 1


def test_an_encrypted_thread_stays_encrypted(threads: Threads) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=KEY)
    with threads.backend.open(threads.place, threads.backend.official.sync, serde=serde) as saver:
        graph = SHAPES["agent with tools"].build(saver)
        graph.invoke({"messages": [HumanMessage("secret", id="h")]}, thread("sealed"))
        inert = InertSerializer(KEY)
        with threads.backend.open(threads.place, threads.backend.ours.sync, serde=inert) as ours:
            value = ours.get_tuple(address("sealed")).checkpoint["channel_values"]["messages"]
        text = written(value).replace("secret", "hidden")
        forked = fork(threads.place, "sealed", values={"messages": parse(text), "big": "plain"}, key=KEY)
        head = saver.get_tuple(address("sealed"))
        assert head.checkpoint["id"] == forked.checkpoint_id
        assert head.checkpoint["channel_values"]["messages"][0].content == "hidden"
        assert head.checkpoint["channel_values"]["big"] == "plain"
    for rows in threads.rows("sealed"):
        assert b"hidden" not in repr(rows).encode()
        assert "plain" not in repr(rows)


@IN_POSTGRES
def test_a_plain_value_of_an_encrypted_thread_is_encrypted_when_it_is_edited(threads: Threads) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=KEY)
    with threads.backend.open(threads.place, threads.backend.official.sync, serde=serde) as saver:
        joining(saver).invoke({"log": ["a"]}, thread("sealed"))
        last = saver.get_tuple(address("sealed"))
        plain = {**empty_checkpoint(), "channel_values": {"n": 1}, "channel_versions": {"n": "9.1"}}
        saver.put(last.config, plain, {"source": "update", "step": 9}, {"n": "9.1"})
        fork(threads.place, "sealed", values={"n": "hidden"}, key=KEY)
        assert saver.get_tuple(address("sealed")).checkpoint["channel_values"] == {"n": "hidden"}
    assert all("hidden" not in repr(rows) for rows in threads.rows("sealed"))


@IN_SQLITE
def test_without_the_key_an_encrypted_checkpoint_is_not_forked_in_place(threads: Threads) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=KEY)
    with threads.backend.open(threads.place, threads.backend.official.sync, serde=serde) as saver:
        joining(saver).invoke({"log": []}, thread("sealed"))
    before = threads.everything()
    with pytest.raises(KeyUnusable):
        fork(threads.place, "sealed")
    with pytest.raises(KeyUnusable, match="cannot be opened"):
        fork(threads.place, "sealed", key=b"another key, 16b")
    assert threads.everything() == before


def test_what_no_row_can_hold_is_refused_and_nothing_written(threads: Threads) -> None:
    before = threads.everything()
    for value in (object(), [2**70], AIMessage("hi"), {"a": {1, 2}}):
        with pytest.raises(ValueRefused, match="The channel 'n' cannot hold this value"):
            fork(threads.place, "interrupt", values={"log": [], "n": value})
    assert threads.everything() == before


@IN_SQLITE
def test_a_checkpoint_of_langgraph_js_keeps_its_json_and_its_numbers(threads: Threads) -> None:
    text = (
        '{"v":4,"ts":"2026-01-01T00:00:00.000Z","id":"1efb0000-0000-6000-8000-000000000000",'
        '"channel_values":{"n": 1e2, "said":{"lc":1,"type":"constructor","id":["a"],"kwargs":{}}},'
        '"channel_versions":{"n":3,"said":4},"versions_seen":{"a":{"n":2}}}'
    )
    threads.execute(
        "INSERT INTO checkpoints VALUES ('js', '', ?, NULL, 'json', ?, ?)",
        "1efb0000-0000-6000-8000-000000000000",
        text.encode(),
        b'{"source":"loop","step":1,"parents":{},"writes":null,"user_id":"\xc3\xa9"}',
    )
    forked = fork(threads.place, "js", values={"n": 7})
    row = next(row for row in threads.rows("js").checkpoints if row[1] == forked.checkpoint_id)
    assert row[3] == "json"
    told = row[4].decode()
    assert '"said": {"lc":1,"type":"constructor","id":["a"],"kwargs":{}}' in told
    assert '"channel_versions": {"n": 5, "said": 4}' in told
    assert '"n": 7' in told
    assert "updated_channels" not in told
    assert row[5].decode() == '{"source": "fork", "step": 2, "parents": {}, "user_id": "é"}'


@IN_POSTGRES
def test_values_of_langgraph_js_get_versions_that_are_free(threads: Threads) -> None:
    ids = [f"1efb0000-0000-600{n}-8000-000000000000" for n in range(2)]
    for n, id in enumerate(ids):
        document = {"v": 4, "ts": "2026-01-01T00:00:00Z", "id": id, "channel_values": {}}
        document |= {"channel_versions": {"n": n + 1}, "versions_seen": {}}
        threads.execute(
            "INSERT INTO checkpoints VALUES ('js', '', ?, ?, NULL, ?, '{\"source\": \"loop\"}')",
            id,
            ids[0] if n else None,
            json.dumps(document),
        )
        threads.execute("INSERT INTO checkpoint_blobs VALUES ('js', '', 'n', ?, 'json', ?)", f"{n + 1}", b"5")
    for id, version in ((ids[0], 3), (ids[0], 4), (ids[1], 5)):
        forked = fork(threads.place, "js", id, values={"n": {"said": version}})
        [(told,)] = threads.execute(
            "SELECT checkpoint -> 'channel_versions' FROM checkpoints WHERE checkpoint_id = ?",
            forked.checkpoint_id,
        )
        assert told == {"n": version}
    blobs = threads.execute("SELECT version, type, blob FROM checkpoint_blobs WHERE thread_id = 'js'")
    assert sorted(version for version, *_ in blobs) == ["1", "2", "3", "4", "5"]
    assert ("5", "json", b'{"said": 5}') in blobs


def test_closed_objects_of_any_class_can_be_put_into_a_channel(threads: Threads) -> None:
    value = stored({"order": Order(id="1", paid="2")})
    fork(threads.place, "interrupt", values={"extra": value})
    found = threads.official.get_tuple(address("interrupt")).checkpoint["channel_values"]["extra"]
    assert found == {"order": Order(id="1", paid="2")}


@IN_SQLITE
def test_a_snapshot_is_packed_as_langgraph_packs_it(threads: Threads) -> None:
    forked = fork(threads.place, "delta 100", values={"log": ["a"]})
    raw = channel_bytes(threads.place, "delta 100")["", forked.checkpoint_id]["log"]
    assert msgpacked.is_snapshot(raw)
