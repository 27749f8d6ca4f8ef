"""Real workers, run beside the test: `world` has a store with threads, and what asks for replays of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from graphs import official_saver

from checkpoints.stores import Location
from explorer import stores
from explorer.models import Replay, State, Worker
from explorer.replays.requests import Request, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django.fixtures import SettingsWrapper

AGENTS = Path(__file__).parent / "agents"
ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds
LIVE = (State.QUEUED, State.RUNNING)


@dataclass
class World:
    """A store, the app's database, and workers over both. `log` is what the agents tell."""

    place: str
    app_url: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def key(self) -> str:
        return stores.key(Location.parse(self.place))

    @property
    def log(self) -> list[list[str]]:
        path = self.folder / "log.txt"
        return [line.split(" ", 2) for line in path.read_text().splitlines()] if path.exists() else []

    def said(self, text: str) -> list[float]:
        """Return when the agents told this."""
        return [float(time) for time, _, told in self.log if told == text]

    def begin(self, thread: str = "t") -> str:
        """Store the input of a thread, and return the checkpoint from which its graph would run."""
        sys.path.insert(0, str(AGENTS))
        try:
            from agents import slow
        finally:
            sys.path.remove(str(AGENTS))
        with official_saver(self.place) as saver:
            graph = slow.copy(update={"checkpointer": saver})
            config = {"configurable": {"thread_id": thread}, "metadata": {"user_id": "ana"}}
            graph.update_state(config, {"log": ["began"], "n": 1}, as_node="__input__")
            return str(graph.get_state(config).config["configurable"]["checkpoint_id"])

    def ask(self, graph: str, thread: str = "t", id: str = "", **more: Any) -> Replay:
        """Ask for a run of a graph from its beginning: with an input, on a thread that may be new."""
        given = {"input": {"log": ["asked"], "n": 1}} if more.get("kind", "input") == "input" else {}
        request = {"kind": "input", "given": given, "seconds_limit": 60, "step": -1, **more}
        return ask(Request(self.key, thread, "", id or self.begin(thread), graph=graph, **request))

    def worker(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self.process("worker", self.place, "--graphs", str(AGENTS), *arguments, **environment)

    def server(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a server with a worker beside it."""
        options = ("--no-browser", "--port", "0")
        return self.process(self.place, "--graphs", str(AGENTS), *options, **environment)

    def process(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start the command."""
        command = [sys.executable, "-m", "explorer", *arguments]
        settings = {
            "DATABASE_URL": self.app_url,
            "LOG": str(self.folder / "log.txt"),
            "EXPLORER_GRACE_SECONDS": "2",
            **self.environment,
            **environment,
        }
        with (self.folder / f"worker-{len(self.started)}.txt").open("wb") as said:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=said
            )
        self.started.append(process)
        return process

    def ended(self, replay: Replay) -> Replay:
        """Wait for the end of a replay, and return it as it is then."""
        return self.until(replay, lambda found: found.state not in LIVE)

    def until(self, replay: Replay, is_so: Callable[[Replay], bool]) -> Replay:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = Replay.objects.get(id=replay.id)
            if is_so(found):
                return found
            time.sleep(0.05)
        raise TimeoutError(f"{found.state} {found.error} {self.complaints()}")

    def told(self, text: str) -> None:
        """Wait until an agent tells this."""
        deadline = time.monotonic() + PATIENCE
        while not self.said(text):
            assert time.monotonic() < deadline, (text, self.complaints())
            time.sleep(0.02)

    def until_told(self, graph: str, what: str) -> Any:
        """Wait until a worker tells this of a graph, and return it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for worker in Worker.objects.all():
                if what in worker.graphs.get(graph, {}):
                    return worker.graphs[graph][what]
            time.sleep(0.05)
        raise TimeoutError(self.complaints())

    def complaints(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in self.folder.glob("worker-*.txt"))

    def values(self, thread: str = "t", id: str = "") -> Any:
        """Return the state of a thread, as the official saver reads it."""
        configurable = {"thread_id": thread, "checkpoint_ns": "", **({"checkpoint_id": id} if id else {})}
        with official_saver(self.place) as saver:
            found = saver.get_tuple({"configurable": configurable})
            return found.checkpoint["channel_values"] if found else None

    def leave(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            process.communicate(timeout=30)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("database"))
    return str(tmp_path / "store.sqlite")


@pytest.fixture
def world(place: str, app_database: Path, tmp_path: Path, settings: SettingsWrapper) -> Iterator[World]:
    """A store of each kind, with the app's own database in a file."""
    settings.EXPLORER_STORES = (place,)
    world = World(place, f"sqlite:///{app_database}", tmp_path)
    yield world
    world.leave()
    Worker.objects.all().delete()


@pytest.fixture
def in_file(app_database: Path, tmp_path: Path, settings: SettingsWrapper) -> Iterator[World]:
    """All of it in files."""
    place = str(tmp_path / "store.sqlite")
    settings.EXPLORER_STORES = (place,)
    world = World(place, f"sqlite:///{app_database}", tmp_path)
    yield world
    world.leave()


@pytest.fixture
def in_postgres(app_in_postgres: str, tmp_path: Path, settings: SettingsWrapper) -> Iterator[World]:
    """Store and app in one PostgreSQL database, as where workers are on other machines."""
    settings.EXPLORER_STORES = (app_in_postgres,)
    world = World(app_in_postgres, app_in_postgres, tmp_path)
    yield world
    world.leave()
