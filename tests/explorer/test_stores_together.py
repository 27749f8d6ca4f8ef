"""Stores of both kinds side by side, and what happens to a database while it is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import graphs
import psycopg
import pytest
from langgraph.types import Command
from pages import load, parse
from readers import Reader

from checkpoints.stores import Location
from checkpoints.stores.postgres import listing, search
from explorer.people.roles import Person
from explorer.recall import forget, recall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.test import AsyncClient

ANYBODY = Person("ana", ("viewer",))


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture
def asking(database: str) -> str:
    """A database with one thread that waits for an answer."""
    with graphs.official_saver(database) as saver:
        graphs.asking(saver).invoke({"log": []}, graphs.config("asking", user_id="ben"))
    return database


def address(url: str, rest: str = "threads/") -> str:
    return f"/s/{urlsplit(url).path[1:]}/{rest}"


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement.encode())


async def test_files_and_databases_are_listed_together(
    at: Callable[..., AsyncClient], own: Path, asking: str
) -> None:
    page = await load(at(own, asking), "/")
    file, database = page.find("li.store")
    assert [file.one("h2 a").text, database.one("h2 a")["href"]] == ["own.sqlite", address(asking)]
    threads, size, state = [span.text for span in database.find("p.facts span")]
    assert (threads, size.split()[1]) == ("1 thread", "KB")
    assert state.startswith("PostgreSQL 1")
    assert state.endswith(", primary")
    assert Location.parse(asking).text in database.text


async def test_a_database_that_cannot_be_reached_says_why_beside_the_others(
    at: Callable[..., AsyncClient], own: Path, asking: str
) -> None:
    nobody = "postgresql://visitor:s3cr3t@127.0.0.1:1/shop?application_name=s3cr3t"
    missing = asking.replace(urlsplit(asking).path, "/missing")
    page = await load(browser := at(own, nobody, asking, missing), "/")
    assert len(page.find("li.store h2 a")) == 2
    unreachable, absent = page.find("li.broken")
    assert "No server answers for shop. Check the host" in unreachable.words
    assert "There is no database missing on this server." in absent.words
    assert "postgresql://127.0.0.1:1/shop" in unreachable.words
    for url, status in (("/s/shop/threads/", 503), ("/s/missing/threads/", 404), (address(asking), 200)):
        response = await browser.get(url)
        assert response.status_code == status
        assert not [secret for secret in ("s3cr3t", "visitor") if secret in response.content.decode()]
    assert "s3cr3t" not in page.text


async def test_a_database_without_tables_says_so(at: Callable[..., AsyncClient], database: str) -> None:
    response = await at(database).get(address(database))
    assert response.status_code == 422
    assert "has no LangGraph tables" in response.content.decode()


async def test_an_answer_changes_the_pages(at: Callable[..., AsyncClient], asking: str) -> None:
    browser = at(asking)
    assert (await load(browser, address(asking))).one("td.state span").text == "interrupted"
    with graphs.official_saver(asking) as saver:
        graphs.asking(saver).invoke(Command(resume="yes"), graphs.config("asking"))
    assert (await load(browser, address(asking))).one("td.state span").text == "idle"
    assert (await load(browser, address(asking, "threads/asking/"))).find("section.pending") == []


async def test_a_page_says_what_happened_to_its_connection_and_the_next_is_shown(
    at: Callable[..., AsyncClient], asking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = at(asking)
    await load(browser, address(asking))
    terminate = "CASE WHEN pg_terminate_backend(pg_backend_pid()) THEN pg_sleep(5)::text END"
    with monkeypatch.context() as patch:
        parameters = "%(last)s::text, %(rows)s::int, %(needle)s::text"
        patch.setattr(listing, "_COUNTED", f"SELECT {terminate}, {parameters}")
        forget()
        execute(asking, "UPDATE checkpoints SET type = type")
        response = await browser.get(address(asking))
    assert response.status_code == 503
    words = parse(response.content.decode()).words
    assert "ended in the middle of a read" in words
    assert "Try again" in words
    assert (await load(browser, address(asking))).one("td.state span").text == "interrupted"


async def test_a_resting_database_is_read_once_and_a_write_seen_at_once(asking: str) -> None:
    read, location = Reader(), Location.parse(asking)
    assert [await recall(ANYBODY, location, "page", read) for _ in range(3)] == [1, 1, 1]
    assert await recall(ANYBODY, location, "another page", read) == 2
    execute(asking, "UPDATE checkpoint_writes SET channel = channel")
    assert [await recall(ANYBODY, location, "page", read) for _ in range(2)] == [3, 3]


async def test_what_was_written_and_not_committed_is_read_when_it_is(asking: str) -> None:
    read, location = Reader(), Location.parse(asking)
    with psycopg.connect(asking) as writer:
        writer.execute("UPDATE checkpoint_writes SET channel = channel")
        assert [await recall(ANYBODY, location, "page", read) for _ in range(2)] == [1, 1]
        writer.commit()
        assert await recall(ANYBODY, location, "page", read) == 2


async def test_the_list_says_how_it_becomes_fast(
    at: Callable[..., AsyncClient], asking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LARGE", 0)
    page = await load(at(asking), address(asking))
    assert page.one("div.notice pre").text.startswith("CREATE INDEX CONCURRENTLY ON public.checkpoints")
    slow = search._SEARCH.replace("GROUP BY", "AND pg_sleep(5) IS NULL GROUP BY")
    monkeypatch.setattr(search, "_SEARCH", slow)
    monkeypatch.setattr(search, "SEARCH_SECONDS", 0.01)
    page = await load(at(asking), f"{address(asking)}?q=user_id%3Dben")
    assert "could not be searched within" in page.one("p.notice").text
    assert "USING gin" in page.one("div.notice pre").text
    assert page.one("h2").text == "No thread matches so far"


async def test_browsing_writes_nothing(at: Callable[..., AsyncClient], asking: str) -> None:
    def written() -> list[Any]:
        with psycopg.connect(asking, autocommit=True) as conn:
            conn.execute("SELECT pg_stat_force_next_flush()")
            return conn.execute("SELECT pg_current_wal_insert_lsn(), pg_current_snapshot()::text").fetchall()

    browser = at(asking)
    timeline = await load(browser, address(asking, "threads/asking/"))
    before = written()[0][1]
    for url in (address(asking), "/", *(step["href"] for step in timeline.find("a.step"))):
        assert (await browser.get(url)).status_code in (200, 302)
    assert written()[0][1] == before, "no transaction has had a number"
