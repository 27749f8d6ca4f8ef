"""Browsers at stores of every shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from forkable import Forkable
from graphs import (
    Written,
    ask_order,
    asking,
    chat,
    config,
    joining,
    nested,
    official_saver,
    written_to,
)
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from named_stores import places

from checkpoints.stores import close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from django.test import AsyncClient
    from pytest_django.fixtures import SettingsWrapper

THREADS, RUNS = 120, 25


@pytest.fixture
async def at(reader: AsyncClient, settings: SettingsWrapper) -> Callable[..., AsyncClient]:
    """Open other stores: `at(path)` is a browser there."""

    def browser(*paths: Path | str) -> AsyncClient:
        settings.EXPLORER_STORES = tuple(map(str, paths))
        return reader

    return browser


@pytest.fixture
async def shapes(at: Callable[..., AsyncClient], written: Written) -> AsyncClient:
    """A browser at a store with a thread of every shape."""
    return at(written.path)


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    """Close the connections to servers that a test's event loop has opened."""
    yield
    await close()


@pytest.fixture(scope="session")
def in_file(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A SQLite file with a thread of every shape."""
    return written_to(tmp_path_factory.mktemp("written") / "agent store.sqlite")


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    """A store with a thread of every shape, in each database."""
    for place in places("agent store", request):
        yield request.getfixturevalue("in_file") if request.param == "sqlite" else written_to(place)


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def crowded(request: pytest.FixtureRequest) -> Iterator[Path | str]:
    """A store of many threads, one of them with many checkpoints, in each database."""
    for place in places("crowd", request):
        crowd_into(place)
        yield place


def crowd_into(place: Path | str) -> None:
    with official_saver(place) as saver:
        graph: Any = joining(saver)
        for number in range(THREADS):
            graph.update_state(config(f"user-{number:03}", user_id=f"u{number % 2}"), {"log": ["hello"]}, "a")
        for _ in range(RUNS):
            graph.invoke({"log": []}, config("long"))


@pytest.fixture
async def crowd(at: Callable[..., AsyncClient], crowded: Path | str) -> AsyncClient:
    """A browser at that store."""
    return at(crowded)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A small store that a test may change: one thread that waits for an answer."""
    path = tmp_path / "own.sqlite"
    with OfficialSaver.from_conn_string(str(path)) as saver:
        asking(saver).invoke({"log": []}, config("asking", user_id="ben"))
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def forkable(request: pytest.FixtureRequest, at: Callable[..., AsyncClient]) -> Iterator[Forkable]:
    """A store of each kind that a test may write to, with a few threads."""
    for place in places("forkable", request):
        with official_saver(place) as saver:
            graphs = {"chat": chat(saver), "asking": asking(saver), "joining": joining(saver)}
            ask_order(saver, "chat", user_id="ana")
            graphs["asking"].invoke({"log": [], "n": 1}, config("asking", user_id="ben"))
            graphs["joining"].invoke({"log": []}, config("joining"))
            nested(saver).invoke({"log": []}, config("nested"))
            yield Forkable(place, at(place), saver, graphs)
