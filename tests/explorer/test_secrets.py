"""The password of a URL reaches no page, log, error, traceback or list of processes."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest
from langgraph.checkpoint.postgres import PostgresSaver

from explorer.command import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Served
    from postgres import Databases

PASSWORD = "pass-of-ana"
COMMAND = (sys.executable, "-m", "explorer")


@pytest.fixture
def store(database: str) -> str:
    """The URL of a store, with a password that its server does not ask for."""
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
    url = urlsplit(database)
    user = url.username or "postgres"
    return url._replace(netloc=f"{user}:{PASSWORD}@{url.netloc.rpartition('@')[2]}").geturl()


def name_of(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


@contextmanager
def closed(postgres: Databases, name: str) -> Iterator[None]:
    """End all connections to a database and admit no others."""
    with psycopg.connect(postgres.url, autocommit=True) as conn:
        conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_the_title_of_the_process_names_stores_of_both_kinds(
    serve: Callable[..., Served], store: str, demo_store: Path
) -> None:
    run = serve(store, demo_store, "--token", "secret", command=COMMAND)
    title = Path(f"/proc/{run.process.pid}/cmdline").read_text().strip("\0")
    assert title == f"checkpoint-explorer: {name_of(store)}, demo"


def test_pages_and_the_terminal_hold_no_password(
    serve: Callable[..., Served], store: str, demo_store: Path, postgres: Databases
) -> None:
    run = serve(store, demo_store, command=COMMAND)
    admitted, threads = run.admitted(), f"/s/{name_of(store)}/threads/"
    pages = [run.get(address, **admitted) for address in ("/", "/help/", threads)]
    with closed(postgres, name_of(store)):
        pages += [run.get(address, **admitted) for address in ("/", threads)]
    run.process.terminate()
    out, err = run.process.communicate(timeout=10)
    assert [page.status for page in pages[:-1]] == [200] * 4
    assert pages[-1].status in (422, 503)
    assert err == ""
    assert PASSWORD not in out + " ".join(page.body.decode() for page in pages)


@pytest.mark.parametrize("command", [[], ["doctor"]])
@pytest.mark.parametrize(
    "broken",
    [
        "postgresql://ana:{}@127.0.0.1:1/agents",
        "postgresql://ana:{}@127.0.0.1:port/agents",
        "postgresql://ana:{}@no such host/agents",
        "postgresql://ana@127.0.0.1:1/agents?password={}&unknown=1",
        "postgresql://ana:x@{}@127.0.0.1:1/agents",
        "mysql://ana:{}@127.0.0.1/agents",
    ],
)
def test_a_store_that_cannot_be_opened_is_named_without_its_password(
    command: list[str], broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, broken.format(PASSWORD)]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert PASSWORD not in said.out + said.err
    assert "ana" not in said.err.replace("manag", "")
