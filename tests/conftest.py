"""Stores, clients and servers for all tests.

PostgreSQL, for any test: the fixture `database` is the URL of an empty database, for this test alone. The
fixture `postgres` is the server, started once: `with postgres.database() as url` gives further databases,
`postgres.url` connects to the server. A test that stops or breaks a server takes one of its own: `with
server()` of tests/postgres.py. `TEST_POSTGRES_URL`, the URL of a role that may create databases, is used
where it is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test import AsyncClient
from graphs import written as written  # the fixture
from hypothesis import settings as hypothesis_settings
from postgres import Databases, NoServer, databases

from explorer.database import configured
from explorer.demo import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.client import HTTPMessage

    from pytest_django.fixtures import SettingsWrapper
    from pytest_django.plugin import DjangoDbBlocker

MANAGE = (sys.executable, "manage.py", "explore")
TOKEN = "token-of-the-tests"
ROOT = Path(__file__).parents[1]
# Explorers that tests start keep nothing in the home of whoever runs the tests.
HOME = tempfile.TemporaryDirectory(prefix="explorer-tests-")
os.environ["XDG_DATA_HOME"] = HOME.name
# A run says the same each time; `make test ARGS=--hypothesis-profile=default` looks further.
hypothesis_settings.register_profile("repeatable", derandomize=True)
hypothesis_settings.load_profile("repeatable")
ANOTHER = "TEST_POSTGRES_URL=postgresql://… names another server, with a role that may create databases."


class Answer(NamedTuple):
    """An HTTP response, read to its end."""

    status: int
    headers: HTTPMessage
    body: bytes


@dataclass
class Served:
    """A running explorer, as its command announced it."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def get(self, target: str, **headers: str) -> Answer:
        """Send one request. `target` goes out as it is."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.putrequest("GET", target, skip_host="host" in headers)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def admitted(self) -> dict[str, str]:
        """Trade the token for the headers of an admitted browser."""
        answer = self.get(f"/?{urlsplit(self.url).query}")
        return {"cookie": str(answer.headers["Set-Cookie"]).partition(";")[0]}


@pytest.fixture(scope="session")
def prepared_database(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Path:
    """A database of the app with its tables, to be copied."""
    path = tmp_path_factory.mktemp("app") / "template.sqlite3"
    django_db_blocker.unblock()
    _use(path)
    call_command("migrate", verbosity=0)
    connection.close()
    return path


@pytest.fixture(scope="session")
def shared_database(prepared_database: Path) -> Path:
    """A database of the app for all tests that do not care what is in it."""
    return Path(shutil.copy(prepared_database, prepared_database.with_name("shared.sqlite3")))


@pytest.fixture(autouse=True)
def _app_database(shared_database: Path) -> Iterator[None]:
    """No test of the pages fails because the app has no database."""
    _use(shared_database)
    yield
    connection.close()


@pytest.fixture
def app_database(prepared_database: Path, tmp_path: Path) -> Path:
    """The database of the app for this test alone, with its tables and empty."""
    connection.close()
    copy = tmp_path / "explorer.sqlite3"
    copy.write_bytes(prepared_database.read_bytes())
    _use(copy)
    return copy


@pytest.fixture
def app_in_postgres(database: str) -> str:
    """The database of the app in PostgreSQL, for this test alone, with its tables and empty."""
    _use(database)
    call_command("migrate", verbosity=0)
    return database


def _use(database: Path | str) -> None:
    """Let this process use a file, or what a URL names, as the database of the app."""
    connection.close()
    url = database if isinstance(database, str) else f"sqlite:///{database}"
    connections.settings["default"].update(configured(url))
    del connections["default"]


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., Served]]:
    """Start explorers: `serve(path, "--token", "x")`. They end with the tests."""
    started = []

    def start(*arguments: object, command: tuple[str, ...] = MANAGE, cwd: Path = ROOT) -> Served:
        process = subprocess.Popen(
            [*command, *map(str, arguments), "--no-browser", "--port", "0"],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        announced = process.stdout.readline() if process.stdout else ""
        assert "http://" in announced, process.communicate()
        return Served(process, announced.split()[-1])

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """A PostgreSQL server for all tests. Without one nothing is skipped: the tests end here."""
    try:
        with databases() as found:
            yield found
    except NoServer as error:
        pytest.exit(f"The tests need PostgreSQL: {error}\n{ANOTHER}", returncode=1)


@pytest.fixture
def database(postgres: Databases) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two dozen threads, written by real graphs through LangGraph's own saver."""
    path = tmp_path_factory.mktemp("demo") / "demo.sqlite"
    write(path)
    return path


@pytest.fixture(scope="session")
def served(serve: Callable[..., Served], demo_store: Path) -> Served:
    """An explorer on the demo store, in a process of its own."""
    return serve(demo_store)


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
