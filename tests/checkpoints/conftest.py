"""Stores for the tests of savers, in every database that has one.

`backend` runs a test on each database; `place` is an empty place in it, `new_store()` gives as many as a test
needs, and `new_stores` the same for a whole module. `threads` is a store with a thread in every state
that one can be left in, `empty` one without. `trips` is a SQLite file.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from backends import BACKENDS, POSTGRES, Backend, stores
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from postgres_threads import ask
from saver_graphs import travel
from thread_graphs import SHAPES, Threads, begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postgres import Databases


@pytest.fixture(scope="session")
def trips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that the official saver wrote, not to be written to."""
    path = tmp_path_factory.mktemp("trips") / "trips.sqlite"
    with OfficialSaver.from_conn_string(str(path)) as saver:
        travel(saver)
    return path


@pytest.fixture(scope="session", params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """A database, each in turn."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def new_store(backend: Backend, request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Create empty stores, which are gone after the test."""
    with stores(backend, request) as new:
        yield new


@pytest.fixture
def place(new_store: Callable[[], str]) -> str:
    """The place of one empty store: a path or a URL."""
    return new_store()


@pytest.fixture(scope="module")
def new_stores(backend: Backend, request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Create empty stores, which are gone after the module."""
    with stores(backend, request) as new:
        yield new


@pytest.fixture(scope="session")
def shapes(backend: Backend, request: pytest.FixtureRequest) -> Any:
    """What a store holds in which the official saver has written a thread of each shape."""
    with stores(backend, request) as new_store:
        place = new_store()
        with backend.open(place, backend.official.sync) as saver:
            for name in SHAPES:
                begin(saver, name)
        return backend.kept(place)


@pytest.fixture
def empty(backend: Backend, new_store: Callable[[], str]) -> Iterator[Threads]:
    """A store that has its tables and nothing in them."""
    with ExitStack() as stack:
        threads = Threads(backend, new_store(), stack)
        threads.ours.setup()
        yield threads


@pytest.fixture
def threads(backend: Backend, shapes: Any, new_store: Callable[[], str]) -> Iterator[Threads]:
    """A store with a thread of each shape."""
    place = new_store()
    backend.fill(place, shapes)
    with ExitStack() as stack:
        yield Threads(backend, place, stack)


@pytest.fixture(scope="module")
def tables(postgres: Databases) -> Iterator[str]:
    """The URL of a PostgreSQL database with tables."""
    with postgres.database() as url:
        POSTGRES.prepare(url)
        yield url


@pytest.fixture
def url(tables: str) -> str:
    """The URL of a PostgreSQL database with empty tables."""
    ask(tables, "TRUNCATE checkpoints, checkpoint_blobs, checkpoint_writes")
    return tables
