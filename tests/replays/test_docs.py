"""The worker in docs/replays.md, taken from there and run against a server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from graphs import official_saver

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Served

DOCS = Path(__file__).parents[2] / "docs" / "replays.md"
GRAPH = """
import sqlite3
from langgraph.checkpoint.sqlite import SqliteSaver
from graphs import asking
work(asking(SqliteSaver(sqlite3.connect(%r, check_same_thread=False))), once=True)
"""


class Server:
    """An explorer, and programs that talk to it."""

    def __init__(self, run: Served, folder: Path) -> None:
        self.url, self.folder = f"http://127.0.0.1:{run.port}", folder

    def call(self, path: str, content: Any = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def worker(self) -> None:
        """Run the worker of the docs once, on a graph that asks."""
        [code] = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
        path = self.folder / "mine.py"
        path.write_text(code + GRAPH % str(self.folder / "store.sqlite"))
        environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
        subprocess.run([sys.executable, path, self.url, "x"], check=True, env=environment, timeout=60)


@pytest.fixture
def server(serve: Callable[..., Served], tmp_path: Path) -> Server:
    from graphs import asking, config

    with official_saver(tmp_path / "store.sqlite") as saver:
        asking(saver).invoke({"log": [], "n": 1}, config("t", user_id="ben"))
    return Server(serve(tmp_path / "store.sqlite", "--token", "x"), tmp_path)


def test_the_worker_of_the_docs_carries_requests_out(server: Server) -> None:
    asked = server.call("/s/store/threads/t/replays/", {"kind": "resume", "answer": "yes"})
    assert asked["state"] == "queued"
    server.worker()
    done = server.call(f"/api/replays/{asked['id']}/")
    assert (done["state"], done["worker"]) == ("succeeded", "mine")
    with official_saver(server.folder / "store.sqlite") as saver:
        found = saver.get_tuple({"configurable": {"thread_id": "t"}})
        assert found.checkpoint["channel_values"]["log"] == ["prepared", "yes", "shipped"]
        assert found.metadata["replay_id"] == asked["id"]
        assert found.metadata["user_id"] == "ben"
    again = server.call("/s/store/threads/t/replays/", {"kind": "input", "input": {"log": ["more"]}})
    server.worker()
    assert server.call(f"/api/replays/{again['id']}/")["state"] == "interrupted"
    failed = server.call("/s/store/threads/t/replays/", {"kind": "input", "input": "no state at all"})
    server.worker()
    done = server.call(f"/api/replays/{failed['id']}/")
    assert done["state"] == "failed"
    assert "InvalidUpdateError" in done["error"]


def test_the_example_is_as_short_as_it_looks() -> None:
    [code] = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 42
