"""A DeltaChannel's value is found again in its ancestors."""

from __future__ import annotations

import operator
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import graphs
import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph

from checkpoints.deltas import delta_items
from checkpoints.stores import Location, read

if TYPE_CHECKING:
    from pathlib import Path


def grown(values: list[int], writes: list[list[int]]) -> list[int]:
    return values + [item for write in writes for item in write]


class Delta(TypedDict):
    items: Annotated[list[int], DeltaChannel(grown, snapshot_frequency=4)]
    turns: Annotated[int, operator.add]


@pytest.fixture
def deltas(tmp_path: Path) -> tuple[Path, list[tuple[Any, list[int]]]]:
    """A store with a DeltaChannel, and the channel's value at every checkpoint as LangGraph gives it."""
    path = tmp_path / "deltas.sqlite"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = StateGraph(Delta).add_node("work", lambda state: {"items": [len(state["items"])], "turns": 1})
        compiled = graph.add_edge(START, "work").compile(checkpointer=saver)
        for turn in range(5):
            compiled.invoke({"items": [100 + turn], "turns": 0}, graphs.config("delta"))
        states = list(compiled.get_state_history(graphs.config("delta")))
    return path, [(state.config, state.values.get("items", [])) for state in states]


async def test_the_items_are_those_langgraph_rebuilds(deltas: Any) -> None:
    path, known = deltas
    checked = 0
    for config, items in known:
        tuple_ = await read(Location.parse(str(path)), lambda store, at=config: store.saver.aget_tuple(at))
        if "items" in tuple_.checkpoint["channel_values"]:
            continue
        found = await read(
            Location.parse(str(path)), lambda store, at=config: delta_items(store.saver, at, "items")
        )
        assert found == items
        checked += 1
    assert checked > 5


async def test_a_loop_of_parents_ends(deltas: Any) -> None:
    path, known = deltas
    with closing(sqlite3.connect(path)) as db, db:
        newest = known[0][0]["configurable"]["checkpoint_id"]
        db.execute(
            "UPDATE checkpoints SET parent_checkpoint_id = ? WHERE parent_checkpoint_id IS NULL", (newest,)
        )
        db.execute("UPDATE checkpoints SET checkpoint = x'80', type = 'msgpack'")
    location = Location.parse(str(path))
    assert await read(location, lambda store: delta_items(store.saver, known[0][0], "items"))
