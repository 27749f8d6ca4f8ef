"""The open stores: what each is, which cannot be read, and what happens to one while it is open."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from django.utils.html import escape
from graphs import asking, config
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.types import Command
from pages import load, parse

from checkpoints.errors import NoCheckpointTables, NotADatabase, StoreMissing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import AsyncClient
    from graphs import Written


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def overwrite(path: Path) -> None:
    path.write_bytes(b"\0" * 8_192)


async def test_a_single_store_leads_straight_to_its_threads(shapes: AsyncClient) -> None:
    response = await shapes.get("/")
    assert (response.status_code, response.headers["Location"]) == (302, "/s/agent-store/threads/")


async def test_the_address_of_a_store_leads_to_its_threads(shapes: AsyncClient) -> None:
    response = await shapes.get("/s/agent-store/")
    assert (response.status_code, response.headers["Location"]) == (302, "/s/agent-store/threads/")


async def test_stores_show_their_place_threads_size_and_journal(
    at: Callable[..., AsyncClient], in_file: Written, own: Path
) -> None:
    page = await load(at(in_file.path, own), "/")
    first, second = page.find("li.store")
    assert first.one("h2 a")["href"] == "/s/agent-store/threads/"
    facts = [span.text for span in first.find("p.facts span")]
    assert facts == [f"{len(in_file.graphs)} threads", facts[1], "write-ahead log, at rest"]
    assert str(in_file.path) in first.text
    assert "1 thread " in second.words


async def test_a_store_that_cannot_be_read_says_why_beside_the_others(
    at: Callable[..., AsyncClient], own: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no database " * 20)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as conn:
        conn.execute("CREATE TABLE customers (name)")
    page = await load(at(own, tmp_path / "notes.txt", tmp_path / "shop.db", tmp_path / "gone.sqlite"), "/")
    assert len(page.find("li.store h2 a")) == 1
    broken = [store.words for store in page.find("li.broken")]
    for words, error in zip(broken, (NotADatabase, NoCheckpointTables, StoreMissing), strict=True):
        assert "not readable" in words
        assert error.advice in words


async def test_stores_of_one_name_have_addresses_of_their_own(
    at: Callable[..., AsyncClient], own: Path, in_file: Written, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / own.name
    copy.write_bytes(in_file.path.read_bytes())
    page = await load(browser := at(own, copy), "/")
    first, second = [link["href"] for link in page.find("li.store h2 a")]
    assert "chat" not in [link.text for link in (await load(browser, first)).find("td.id a")]
    assert "chat" in [link.text for link in (await load(browser, second)).find("td.id a")]


async def test_without_a_store_the_page_says_how_to_open_one(at: Callable[..., AsyncClient]) -> None:
    page = await load(at(), "/")
    assert "checkpoint-explorer path/to/checkpoints.sqlite" in page.one("pre").text


async def test_an_unknown_store_is_not_found_and_says_where_to_start(shapes: AsyncClient) -> None:
    response = await shapes.get("/s/unknown/threads/")
    page = parse(response.content.decode())
    assert response.status_code == 404
    assert "Start from the list of stores" in page.one("section.error").text
    assert "/" in [link["href"] for link in page.find("section.error a")]


async def test_a_store_deleted_while_it_is_open_is_not_found(
    at: Callable[..., AsyncClient], own: Path
) -> None:
    browser = at(own)
    await load(browser, "/s/own/threads/")
    for path in own.parent.glob("own.sqlite*"):
        path.unlink()
    response = await browser.get("/s/own/threads/")
    assert response.status_code == 404
    assert StoreMissing.advice in response.content.decode()
    assert list(own.parent.glob("own*")) == []


async def test_a_store_overwritten_while_it_is_open_says_so(
    at: Callable[..., AsyncClient], own: Path
) -> None:
    browser = at(own)
    await load(browser, "/s/own/threads/asking/")
    overwrite(own)
    for url in ("/s/own/threads/", "/s/own/threads/asking/"):
        response = await browser.get(url)
        assert response.status_code == 422
        assert escape(NotADatabase.advice) in response.content.decode()


async def test_a_page_of_a_store_at_rest_is_not_shown_again_after_a_write(
    at: Callable[..., AsyncClient], own: Path
) -> None:
    browser = at(own)
    os.utime(own, (1, 1))
    for url in ("/s/own/threads/", "/s/own/threads/asking/"):
        await load(browser, url)
    with OfficialSaver.from_conn_string(str(own)) as saver:
        asking(saver).invoke(Command(resume="yes"), config("asking"))
    assert (await load(browser, "/s/own/threads/")).one("td.state span").text == "idle"
    assert (await load(browser, "/s/own/threads/asking/")).find("section.pending") == []


async def test_what_an_agent_has_just_written_is_shown(at: Callable[..., AsyncClient], own: Path) -> None:
    browser = at(own)
    with OfficialSaver.from_conn_string(str(own)) as saver:
        graph = asking(saver)
        for number in range(5):
            graph.invoke({"log": []}, config(f"new-{number}"))
            page = await load(browser, "/s/own/threads/")
            assert page.find("td.id a")[0].text == f"new-{number}"


async def test_an_agent_writing_meanwhile_is_not_disturbed(at: Callable[..., AsyncClient], own: Path) -> None:
    failed: list[Exception] = []

    def write() -> None:
        with closing(sqlite3.connect(own, timeout=0.05, check_same_thread=False)) as conn:
            graph = asking(OfficialSaver(conn))
            try:
                for number in range(40):
                    graph.invoke({"log": []}, config(f"meanwhile-{number}"))
            except sqlite3.Error as error:
                failed.append(error)

    agent = threading.Thread(target=write)
    agent.start()
    answers = set()
    while agent.is_alive():
        answers.add((await at(own).get("/s/own/threads/")).status_code)
        answers.add((await at(own).get("/s/own/threads/asking/")).status_code)
    assert (failed, answers) == ([], {200})
    assert "41 threads" in (await load(at(own, own.with_name("x")), "/")).text


async def test_browsing_changes_no_file_and_leaves_none(at: Callable[..., AsyncClient], own: Path) -> None:
    before = files(own.parent)
    browser = at(own)
    timeline = await load(browser, "/s/own/threads/asking/")
    for url in ("/s/own/threads/?q=user_id%3Dben", *(step["href"] for step in timeline.find("a.step"))):
        await load(browser, url)
    assert files(own.parent) == before
    assert list(before) == ["own.sqlite"]
