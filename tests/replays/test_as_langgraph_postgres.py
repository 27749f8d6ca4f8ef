"""The same in PostgreSQL, for threads of the kinds that are stored differently there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from graphs import official_saver
from langgraph.types import Command
from runnable import source_of
from test_as_langgraph import IDS, story
from thread_graphs import SHAPES, begin

from explorer.graphs.sources import GraphSource
from explorer.running.job import Job
from explorer.running.run import Stop, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import Databases

KINDS = ["agent with tools", "fan-out", "nested", "map", "functional", "delta 5", "memory, done", "trip"]
WAITS = ("fan-out", "nested", "map", "functional", "trip")


@pytest.fixture
def places(postgres: Databases, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Two databases with the same thread."""
    with postgres.database() as left, postgres.database() as right:
        for place in (left, right):
            with official_saver(place) as saver:
                begin(saver, request.node.callspec.params["name"])
        yield left, right


def roots(place: str, name: str) -> list[str]:
    with official_saver(place) as saver:
        found = saver.list({"configurable": {"thread_id": name, "checkpoint_ns": ""}})
        return [each.checkpoint["id"] for each in found][::-1]


def stored(place: str, name: str) -> list[str]:
    with official_saver(place) as saver:
        every = saver.list({"configurable": {"thread_id": name}})
        spaces = dict.fromkeys(each.config["configurable"]["checkpoint_ns"] for each in every)
        told = []
        for ns in spaces:
            at: Any = {"configurable": {"thread_id": name, "checkpoint_ns": ns}}
            told.append(f"{ns}: {story(reversed(list(saver.list(at))))}")
    return sorted(IDS.sub("ID", each) for each in told)


def directly(place: str, name: str, given: Any, id: str) -> None:
    configurable = {"thread_id": name, "checkpoint_ns": "", **({"checkpoint_id": id} if id else {})}
    with official_saver(place) as saver:
        SHAPES[name].build(saver).invoke(given, {"configurable": configurable}, durability="sync")


async def replayed(place: str, name: str, kind: Any, id: str, **given: Any) -> Any:
    source = GraphSource("shape", f"runnable:{source_of(name)}", ".")
    return await run(
        Job(source, "", place, kind, name, "", id, step_limit=50, **given), lambda _: None, Stop()
    )


@pytest.mark.parametrize("name", KINDS)
async def test_a_replay_ends_as_langgraph_itself_does(name: str, places: tuple[str, str]) -> None:
    left, right = places
    for number, id in enumerate(roots(left, name)):
        await asyncio.to_thread(directly, left, name, None, id)
        ended = await replayed(right, name, "replay", roots(right, name)[number])
        assert ended["state"] in ("succeeded", "interrupted"), ended
        assert stored(right, name) == stored(left, name)


@pytest.mark.parametrize("name", WAITS)
async def test_an_answer_goes_on_as_langgraph_itself_does(name: str, places: tuple[str, str]) -> None:
    left, right = places
    head = roots(right, name)[-1]
    await asyncio.to_thread(directly, left, name, Command(resume="yes"), "")
    ended = await replayed(right, name, "resume", head, answers={"": "yes"}, head=head)
    assert ended["state"] in ("succeeded", "interrupted"), ended
    assert stored(right, name) == stored(left, name)
