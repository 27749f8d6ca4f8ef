"""The slugs that name stores in URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from explorer.stores import UnknownStore, located, registered

if TYPE_CHECKING:
    from django.test import AsyncClient
    from pytest_django.fixtures import SettingsWrapper


def test_a_slug_is_the_name_of_the_file(settings: SettingsWrapper) -> None:
    settings.EXPLORER_STORES = ("/data/Agent Memory (1).sqlite", "/data/données.db", "/data/東京.sqlite")
    assert list(registered()) == ["agent-memory-1", "donnees", "store"]


def test_files_of_one_name_get_slugs_of_their_own(settings: SettingsWrapper) -> None:
    settings.EXPLORER_STORES = ("a/main.sqlite", "b/main.sqlite", "c/main-2.sqlite", "c/main.db")
    assert list(registered()) == ["main", "main-2", "main-2-2", "main-3"]
    assert located("main-2").text == "b/main.sqlite"


def test_a_file_named_twice_is_one_store(settings: SettingsWrapper) -> None:
    settings.EXPLORER_STORES = ("main.sqlite", "main.sqlite")
    assert list(registered()) == ["main"]


async def test_an_unknown_store_is_not_found(reader: AsyncClient) -> None:
    with pytest.raises(UnknownStore):
        located("nowhere")
    response = await reader.get("/s/nowhere/threads/")
    assert response.status_code == 404
    assert "No store is open under this name." in response.content.decode()
