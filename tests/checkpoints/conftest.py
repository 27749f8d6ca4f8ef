from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from saver_graphs import travel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def trips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that the official saver wrote, not to be written to."""
    path = tmp_path_factory.mktemp("trips") / "trips.sqlite"
    with OfficialSaver.from_conn_string(str(path)) as saver:
        travel(saver)
    return path
