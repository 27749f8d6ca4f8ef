"""A DeltaChannel's value is found again in its ancestors."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import graphs
import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from stores_data import ask, execute

from checkpoints.deltas import Given, delta_items, delta_values
from checkpoints.inert import InertSerializer, opened
from checkpoints.snapshot import Snapshot

if TYPE_CHECKING:
    from backends import Backend


def grown(values: list[int], writes: list[list[int]]) -> list[int]:
    return values + [item for write in writes for item in write]


class Delta(TypedDict):
    items: Annotated[list[int], DeltaChannel(grown, snapshot_frequency=4)]
    turns: Annotated[int, operator.add]


@pytest.fixture
def deltas(place: str) -> list[tuple[Any, list[int]]]:
    """The value of a DeltaChannel at every checkpoint of a store, as LangGraph gives it."""
    with graphs.official_saver(place) as saver:
        graph = StateGraph(Delta).add_node("work", lambda state: {"items": [len(state["items"])], "turns": 1})
        compiled = graph.add_edge(START, "work").compile(checkpointer=saver)
        for turn in range(5):
            compiled.invoke({"items": [100 + turn], "turns": 0}, graphs.config("delta"))
        states = list(compiled.get_state_history(graphs.config("delta")))
    return [(state.config, state.values.get("items", [])) for state in states]


async def test_the_items_are_those_langgraph_rebuilds(place: str, deltas: Any) -> None:
    checked = 0
    for config, items in deltas:
        tuple_ = await ask(place, lambda store, at=config: store.saver.aget_tuple(at))
        if "items" in tuple_.checkpoint["channel_values"]:
            continue
        assert await ask(place, lambda store, at=config: delta_items(store.saver, at, "items")) == items
        checked += 1
    assert checked > 5


async def test_several_channels_are_found_in_one_visit(place: str, deltas: Any) -> None:
    for config, _ in deltas:
        both = await ask(place, lambda store, at=config: delta_values(store.saver, at, ["items", "others"]))
        alone = await ask(place, lambda store, at=config: delta_values(store.saver, at, ["items"]))
        assert both == {**alone, "others": Given([], whole=True)}, "a snapshot of one does not end the other"


async def test_a_snapshot_is_the_channels_value(place: str, deltas: Any) -> None:
    found = {}
    for config, items in deltas:
        at = config["configurable"]["checkpoint_id"]
        row = await ask(place, lambda store, id=at: store.checkpoint_row("delta", "", id))
        values = Snapshot(row, InertSerializer()).values
        if "items" in values:
            found[at] = (opened(values["items"]).value, items)
    assert len(found) > 1
    assert all(stored == items for stored, items in found.values())


LOOP = "UPDATE checkpoints SET parent_checkpoint_id = ? WHERE parent_checkpoint_id IS NULL"
EMPTY = {
    "sqlite": ["UPDATE checkpoints SET checkpoint = x'80', type = 'msgpack'"],
    "postgres": [
        "UPDATE checkpoints SET checkpoint = checkpoint - 'channel_values'",
        "DELETE FROM checkpoint_blobs",
    ],
}


async def test_a_loop_of_parents_ends(place: str, backend: Backend, deltas: Any) -> None:
    newest = deltas[0][0]
    execute(place, LOOP, newest["configurable"]["checkpoint_id"])
    for statement in EMPTY[backend.name]:
        execute(place, statement)
    assert await ask(place, lambda store: delta_items(store.saver, newest, "items"))
