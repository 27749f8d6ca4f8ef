"""The list of threads: paged, searched, with a derived status."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from graphs import AWKWARD, HUMAN
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from pages import following, load, parse

from explorer import addresses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import AsyncClient
    from graphs import Written
    from pages import Element

URL = "/s/agent-store/threads/"
CROWD = "/s/crowd/threads/"


def lines(page: Element) -> dict[str, Element]:
    return {line.one("td.id a").text: line for line in page.find("table.threads tbody tr")}


async def test_the_pages_list_every_thread_once_the_last_written_first(crowd: AsyncClient) -> None:
    pages = [list(lines(page)) async for page in following(crowd, CROWD)]
    assert [len(page) for page in pages] == [50, 50, 21]
    assert [id for page in pages for id in page] == ["long", *(f"user-{n:03}" for n in range(119, -1, -1))]


async def test_a_later_page_leads_back_to_the_newest(crowd: AsyncClient) -> None:
    first, second, _ = [page async for page in following(crowd, CROWD)]
    assert "back to the newest" not in first.text
    assert CROWD in [link["href"] for link in second.find("p a")]


async def test_a_part_of_an_id_finds_threads_and_stays_in_the_links(crowd: AsyncClient) -> None:
    pages = [page async for page in following(crowd, f"{CROWD}?q=user-0")]
    assert [id for page in pages for id in lines(page)] == [f"user-{n:03}" for n in range(99, -1, -1)]
    assert parse_qs(urlsplit(pages[0].one("a[rel=next]")["href"]).query)["q"] == ["user-0"]
    assert pages[0].one("input[name=q]")["value"] == "user-0"


async def test_metadata_of_any_checkpoint_finds_threads(crowd: AsyncClient) -> None:
    found = [id async for page in following(crowd, f"{CROWD}?q=user_id%3Du1") for id in lines(page)]
    assert found == [f"user-{n:03}" for n in range(119, 0, -2)]


async def test_id_and_metadata_together_find_threads_with_both(shapes: AsyncClient) -> None:
    page = await load(shapes, f"{URL}?q=user_id%3Dana+fork")
    assert list(lines(page)) == ["forked"]


async def test_a_search_without_a_match_says_how_to_search(shapes: AsyncClient) -> None:
    page = await load(shapes, f"{URL}?q=nobody")
    assert "No thread matches" in page.text
    assert "key=value" in page.text


@pytest.mark.parametrize("q", ["%00", "'", "%25", '%22"', "a=", "=b", "id:", "user_id=%", "x" * 9_000])
async def test_odd_searches_find_nothing_and_break_nothing(shapes: AsyncClient, q: str) -> None:
    response = await shapes.get(URL, {"q": q})
    assert response.status_code == 200
    assert parse(response.content.decode()).one("input[name=q]")["value"] == q


@pytest.mark.parametrize(
    ("thread", "status"),
    {
        "chat": "idle",
        "asking": "interrupted",
        "failing": "error",
        "forked": "pending",
        "nested": "interrupted",
    }.items(),
)
async def test_a_thread_shows_the_status_of_its_head(shapes: AsyncClient, thread: str, status: str) -> None:
    assert lines(await load(shapes, URL))[thread].one("td.state span").text == status


async def test_a_thread_shows_what_runs_next(shapes: AsyncClient) -> None:
    found = lines(await load(shapes, URL))
    assert "next: ask" in found["asking"].text
    assert "next: b1, b2" in found["forked"].text
    assert "next" not in found["chat"].text


async def test_a_thread_shows_its_first_human_words_last_step_and_counts(shapes: AsyncClient) -> None:
    found = lines(await load(shapes, URL))
    assert HUMAN in found["chat"].one("td.id").text
    assert found["chat"].one("td.last").text == "loop · step 3"
    assert found["chat"].one("td.num").words == "5"
    assert found["nested"].one("td.num p").text == "3 namespaces"


async def test_every_thread_is_a_link_to_its_timeline(shapes: AsyncClient, written: Written) -> None:
    found = lines(await load(shapes, URL))
    assert found.keys() == written.graphs.keys()
    for thread, line in found.items():
        page = await load(shapes, line.one("td.id a")["href"])
        assert page.one("section.timeline h1").text == thread


async def test_an_awkward_id_is_text_and_never_markup(shapes: AsyncClient) -> None:
    response = await shapes.get(URL)
    page = parse(response.content.decode())
    assert AWKWARD in lines(page)
    assert "<script>alert" not in response.content.decode()
    assert {script["src"].split("/")[1] for script in page.find("script")} == {"static"}


async def test_an_empty_store_says_how_to_fill_it(at: Callable[..., AsyncClient], tmp_path: Path) -> None:
    with OfficialSaver.from_conn_string(str(tmp_path / "empty.sqlite")) as saver:
        saver.setup()
    page = await load(at(tmp_path / "empty.sqlite"), "/s/empty/threads/")
    assert "No threads yet" in page.text
    assert "graph.invoke" in page.one("pre").text


async def test_writes_without_a_checkpoint_are_a_thread_too(
    at: Callable[..., AsyncClient], own: Path
) -> None:
    with closing(sqlite3.connect(own)) as conn, conn:
        conn.execute("DELETE FROM checkpoints")
    found = lines(await load(at(own), "/s/own/threads/"))
    assert found["asking"].one("td.state span").text == "orphaned writes"


async def test_htmx_gets_the_list_alone(shapes: AsyncClient) -> None:
    alone = await load(shapes, URL, HX_Request="true")
    assert lines(alone).keys() == lines(await load(shapes, URL)).keys()
    assert alone.find("html") == alone.find("main") == []


@pytest.mark.parametrize("header", ["HX-Boosted", "HX-History-Restore-Request"])
async def test_boosted_and_restored_requests_get_the_whole_page(shapes: AsyncClient, header: str) -> None:
    response = await shapes.get(URL, headers={"HX-Request": "true", header: "true"})
    assert len(parse(response.content.decode()).find("main")) == 1


async def test_caches_are_told_what_the_answer_depends_on(shapes: AsyncClient) -> None:
    for url in (URL, addresses.timeline("agent-store", "chat"), "/s/unknown/threads/"):
        vary = (await shapes.get(url)).headers["Vary"]
        assert {"HX-Request", "HX-Boosted", "HX-History-Restore-Request"} <= set(vary.split(", "))


@pytest.mark.parametrize("before", ["x", "1e9", "", "9" * 30])
async def test_a_page_that_cannot_be_is_the_first_or_empty(shapes: AsyncClient, before: str) -> None:
    assert (await shapes.get(URL, {"before": before})).status_code == 200
