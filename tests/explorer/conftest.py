"""Browsers at stores of every shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from graphs import asking, config, joining
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import AsyncClient
    from graphs import Written
    from pytest_django.fixtures import SettingsWrapper

THREADS, RUNS = 120, 25


@pytest.fixture
async def at(reader: AsyncClient, settings: SettingsWrapper) -> Callable[..., AsyncClient]:
    """Open other stores: `at(path)` is a browser there."""

    def browser(*paths: Path) -> AsyncClient:
        settings.EXPLORER_STORES = tuple(map(str, paths))
        return reader

    return browser


@pytest.fixture
async def shapes(at: Callable[..., AsyncClient], written: Written) -> AsyncClient:
    """A browser at a store with a thread of every shape."""
    return at(written.path)


@pytest.fixture(scope="session")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of many threads, one of them with many checkpoints."""
    path = tmp_path_factory.mktemp("crowded") / "crowd.sqlite"
    with OfficialSaver.from_conn_string(str(path)) as saver:
        graph: Any = joining(saver)
        for number in range(THREADS):
            graph.update_state(config(f"user-{number:03}", user_id=f"u{number % 2}"), {"log": ["hello"]}, "a")
        for _ in range(RUNS):
            graph.invoke({"log": []}, config("long"))
    return path


@pytest.fixture
async def crowd(at: Callable[..., AsyncClient], crowded: Path) -> AsyncClient:
    """A browser at that store."""
    return at(crowded)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A small store that a test may change: one thread that waits for an answer."""
    path = tmp_path / "own.sqlite"
    with OfficialSaver.from_conn_string(str(path)) as saver:
        asking(saver).invoke({"log": []}, config("asking", user_id="ben"))
    return path
