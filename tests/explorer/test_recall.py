"""A page is remembered only as long as nobody has written to its store."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import graphs
import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from readers import Page, Reader

from checkpoints.masking import Masks
from checkpoints.stores import Location, Store
from explorer.people.roles import Person
from explorer.recall import PAGES, forget, recall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.test import AsyncClient
    from pytest_django.fixtures import SettingsWrapper

ANYBODY = Person("ana", ("viewer",))


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture
def resting(tmp_path: Path, in_file: graphs.Written) -> Path:
    """A copy of the store that was last written to an hour ago."""
    path = tmp_path / "resting.sqlite"
    shutil.copy(in_file.path, path)
    an_hour_ago = path.stat().st_mtime - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))
    return path


async def test_a_resting_store_is_read_once(resting: Path) -> None:
    read, location = Reader(), Location.parse(str(resting))
    assert [await recall(ANYBODY, location, "page", read) for _ in range(3)] == [1, 1, 1]
    assert await recall(ANYBODY, location, "another page", read) == 2


async def test_who_sees_less_is_not_shown_what_another_saw(resting: Path) -> None:
    read, location = Reader(), Location.parse(str(resting))
    less = replace(ANYBODY, masks=Masks(frozenset({"messages"})))
    people = (ANYBODY, less, ANYBODY, less, replace(ANYBODY, name="ben"))
    assert [await recall(person, location, "page", read) for person in people] == [1, 2, 1, 2, 1]


async def test_a_page_that_was_cut_short_is_read_again(resting: Path) -> None:
    class Hurried(Reader):
        async def __call__(self, opened: Store) -> Page:
            page = await super().__call__(opened)
            page.bound = "There was no time for more." if page == 1 else None
            return page

    read, location = Hurried(), Location.parse(str(resting))
    assert [await recall(ANYBODY, location, "page", read) for _ in range(3)] == [1, 2, 2]


async def test_a_write_is_seen_at_once(resting: Path) -> None:
    read, location = Reader(), Location.parse(str(resting))
    await recall(ANYBODY, location, "page", read)
    with SqliteSaver.from_conn_string(str(resting)) as saver:
        graphs.ask_order(saver, "new")
        assert await recall(ANYBODY, location, "page", read) == 2
    assert await recall(ANYBODY, location, "page", read) == 3


async def test_a_store_written_a_moment_ago_is_always_read(resting: Path) -> None:
    os.utime(resting)
    read, location = Reader(), Location.parse(str(resting))
    assert [await recall(ANYBODY, location, "page", read) for _ in range(2)] == [1, 2]


async def test_only_so_many_pages_are_remembered(resting: Path) -> None:
    read, location = Reader(), Location.parse(str(resting))
    for page in range(PAGES + 1):
        await recall(ANYBODY, location, page, read)
    await recall(ANYBODY, location, PAGES, read)
    assert read.asked == PAGES + 1
    await recall(ANYBODY, location, 0, read)
    assert read.asked == PAGES + 2


async def test_the_list_shows_a_thread_the_moment_an_agent_makes_it(
    resting: Path, reader: AsyncClient, settings: SettingsWrapper
) -> None:
    settings.EXPLORER_STORES = (str(resting),)
    assert b"brand-new" not in (await reader.get("/s/resting/threads/")).content
    with closing(SqliteSaver.from_conn_string(str(resting)).gen) as opened:  # left open, as an agent does
        graphs.ask_order(next(opened), "brand-new")
        assert b"brand-new" in (await reader.get("/s/resting/threads/")).content
