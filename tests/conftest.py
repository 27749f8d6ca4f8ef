"""Stores and clients for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import graphs
import pytest
from django.test import AsyncClient
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver

from explorer.demo import write

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import SettingsWrapper

TOKEN = "token-of-the-tests"


@pytest.fixture(scope="session")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two dozen threads, written by real graphs through LangGraph's own saver."""
    path = tmp_path_factory.mktemp("demo") / "demo.sqlite"
    write(path)
    return path


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> graphs.Written:
    """A store with a thread of every shape, and what LangGraph says of each checkpoint."""
    path = tmp_path_factory.mktemp("written") / "agent store.sqlite"
    with OfficialSaver.from_conn_string(str(path)) as saver:
        ran = graphs.run_all(saver)
        return graphs.Written(path, ran, list(graphs.histories(ran)))


@pytest.fixture
def visitor(settings: SettingsWrapper, demo_store: Path) -> AsyncClient:
    """A browser without the token, at an explorer that has the demo store open."""
    settings.EXPLORER_STORES = (str(demo_store),)
    settings.EXPLORER_TOKEN = TOKEN
    return AsyncClient()


@pytest.fixture
async def reader(visitor: AsyncClient) -> AsyncClient:
    """A browser that came with the token."""
    await visitor.get("/", {"token": TOKEN})
    return visitor
