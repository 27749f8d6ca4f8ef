"""A server started by uvicorn itself: what it checks before it serves, and what it shares."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from langgraph.checkpoint.postgres import PostgresSaver

from explorer.lifespan import Lifespan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Served
    from django.test import AsyncClient

ROOT = Path(__file__).parents[2]
OURS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'checkpoint-explorer' AND datname = current_database()
"""
UVICORN = (sys.executable, "-m", "uvicorn", "explorer.asgi:application", "--port", "0")


def refusal(*options: str, **environment: str) -> str:
    """Start uvicorn where the app does not start, and return what uvicorn says."""
    run = subprocess.run(
        [*UVICORN, *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 3
    return run.stderr


@pytest.fixture
def uvicorn(served: Served) -> Iterator[Callable[..., Served]]:
    """Start uvicorn: `uvicorn(EXPLORER_TOKEN="x")`."""
    started = []

    def start(**environment: str) -> Served:
        environment = {**os.environ, **environment}
        process = subprocess.Popen(UVICORN, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stderr
        address = next(line for line in process.stderr if "running on" in line).split(" on ")[1].split()[0]
        token = environment.get("EXPLORER_TOKEN", "")
        return replace(served, process=process, url=f"{address}/?token={token}")

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=10)


@pytest.mark.parametrize("lifespan", ["on", "auto"])
def test_a_store_that_cannot_be_opened_stops_the_server_and_is_named(
    demo_store: Path, tmp_path: Path, lifespan: str
) -> None:
    stores = f"{tmp_path / 'first.sqlite'}\n{demo_store}\n{tmp_path}\n"
    said = refusal("--lifespan", lifespan, EXPLORER_STORES=stores)
    assert "There is no file first.sqlite" in said
    assert "is a directory" in said
    assert "Traceback" not in said


def test_a_database_that_cannot_be_opened_stops_the_server() -> None:
    said = refusal(DATABASE_URL="sqlite:////proc/secret/app.sqlite3")
    assert "The database of DATABASE_URL cannot be opened or prepared." in said
    assert "secret" not in said


def test_an_error_that_nobody_foresaw_stops_the_server_too() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    async def start() -> list[str]:
        told: list[str] = []

        async def receive() -> dict[str, str]:
            return {"type": "lifespan.startup"}

        async def send(message: dict[str, str]) -> None:
            told.append(message["type"])

        with pytest.raises(ZeroDivisionError):
            await Lifespan(get_asgi_application(), broken)({"type": "lifespan"}, receive, send)
        return told

    assert asyncio.run(start()) == ["lifespan.startup.failed"]


def test_the_environment_names_stores_and_token(uvicorn: Callable[..., Served], demo_store: Path) -> None:
    run = uvicorn(EXPLORER_STORES=str(demo_store), EXPLORER_TOKEN="x")
    assert run.get("/s/demo/threads/", **run.admitted()).status == 200


def test_it_shares_the_database_with_servers_of_the_command(
    uvicorn: Callable[..., Served], serve: Callable[..., Served], demo_store: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/app.sqlite3"
    other = serve(demo_store, command=("env", f"DATABASE_URL={url}", sys.executable, "-m", "explorer"))
    run = uvicorn(DATABASE_URL=url, EXPLORER_STORES=str(demo_store))
    assert run.get("/").status == 403
    assert run.get("/s/demo/threads/", **other.admitted()).status == 200


async def test_connections_to_servers_are_closed_at_the_end(
    at: Callable[..., AsyncClient], database: str
) -> None:
    with psycopg.connect(database, autocommit=True) as watching:
        with PostgresSaver.from_conn_string(database) as saver:
            saver.setup()
        assert (await at(database).get("/", follow=True)).status_code == 200
        assert watching.execute(OURS).fetchone() == (1,)
        live = ApplicationCommunicator(Lifespan(get_asgi_application()), {"type": "lifespan"})
        for moment in ("startup", "shutdown"):
            await live.send_input({"type": f"lifespan.{moment}"})
            assert await live.receive_output() == {"type": f"lifespan.{moment}.complete"}
        for _ in range(100):  # the server's own process may take a moment to go
            if watching.execute(OURS).fetchone() == (0,):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(watching.execute(OURS).fetchone())


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_closes_its_connections_however_it_ends(
    serve: Callable[..., Served], database: str, ending: signal.Signals
) -> None:
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
    run = serve(database, command=(sys.executable, "-W", "always::ResourceWarning", "-m", "explorer"))
    admitted = run.admitted()
    assert run.get(run.get("/", **admitted).headers["Location"], **admitted).status == 200
    run.process.send_signal(ending)
    _, said = run.process.communicate(timeout=10)
    assert run.process.returncode == 0
    assert "connection" not in said  # psycopg warns of one that is left open


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_shuts_down_when_it_is_told_to(uvicorn: Callable[..., Served], ending: signal.Signals) -> None:
    run = uvicorn()
    run.process.send_signal(ending)
    _, said = run.process.communicate(timeout=10)
    assert "Application shutdown complete." in said
