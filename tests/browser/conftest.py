from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from browser.chromium import launch
from browser.stores import write_crowd, write_forkable, write_shapes
from browser.visitor import Visitor, origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Served
    from playwright.sync_api import Browser
    from postgres import Databases


@pytest.fixture(autouse=True)
def _app_database() -> None:
    """Explorers of these tests are processes of their own, with databases of their own."""


@pytest.fixture(scope="package")
def in_postgres(postgres: Databases) -> Iterator[str]:
    """The URL of a database with a thread of every shape."""
    with postgres.database() as url:
        write_shapes(url)
        yield url


@pytest.fixture(scope="package")
def explorer(
    serve: Callable[..., Served],
    demo_store: Path,
    in_postgres: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Served:
    """An explorer with the stores `demo`, `shapes`, `crowd` and `forkable` open, and one in PostgreSQL."""
    folder = tmp_path_factory.mktemp("browser")
    write_shapes(shapes := folder / "shapes.sqlite")
    write_crowd(crowd := folder / "crowd.sqlite")
    write_forkable(forkable := folder / "forkable.sqlite")
    return serve(demo_store, shapes, crowd, in_postgres, forkable)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all of these tests; its event loop would be in the way of the tests after them."""
    with sync_playwright() as playwright, launch(playwright) as browser:
        yield browser


@pytest.fixture(scope="package")
def cookies(browser: Browser, explorer: Served) -> Any:
    """What a browser keeps that came with the address that the command printed."""
    with browser.new_context() as context:
        context.new_page().goto(explorer.url)
        return context.storage_state()


@pytest.fixture
def visitor(browser: Browser, explorer: Served, cookies: Any) -> Iterator[Visitor]:
    """Open pages with it: `visitor.open("/")`. The test fails when a page gave cause for complaint."""
    visitor = Visitor(browser, origin(explorer), cookies)
    yield visitor
    visitor.leave()
    assert visitor.complaints == []
