"""Stores whose threads are deleted: a file and a PostgreSQL database, each with a thread of every shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from deletable import Deletable
from django.test import AsyncClient
from graphs import official_saver, run_all

from explorer import stores

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import SettingsWrapper

TOKEN = "token-of-the-tests"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A place with a thread of every shape, by the official saver."""
    found: Path | str = (
        request.getfixturevalue("database") if request.param == "postgres" else tmp_path / "shop.sqlite"
    )
    with official_saver(found) as saver:
        run_all(saver)
    return found


@pytest.fixture
async def shop(place: Path | str, app_database: Path, settings: SettingsWrapper, tmp_path: Path) -> Deletable:
    """That store open at an explorer, and a browser with the token."""
    settings.EXPLORER_STORES = (str(place),)
    settings.EXPLORER_TOKEN = TOKEN
    settings.EXPLORER_BACKUPS = str(tmp_path / "backups")
    browser = AsyncClient()
    await browser.get("/", {"token": TOKEN})
    return Deletable(place, browser, next(iter(stores.registered())))
