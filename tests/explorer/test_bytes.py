"""Where the bytes go, as a page: tables, namespaces, the largest threads and the channels."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from graphs import config, nested
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from pages import load

from explorer import addresses
from explorer.recall import forget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from django.test import AsyncClient
    from graphs import Written
    from pages import Element

URL = addresses.bytes_page("agent-store")


def names(page: Element, heading: str) -> list[str]:
    """Return the first cells of the table under a heading."""
    [section] = [each for each in page.find("section") if each.one("h2").text.startswith(heading)]
    return [row.one("th").words for row in section.find("tbody tr")]


async def test_the_page_names_tables_threads_namespaces_and_channels(
    shapes: AsyncClient, written: Written
) -> None:
    page = await load(shapes, URL)
    assert names(page, "Tables")[0].startswith("checkpoints")
    assert names(page, "Namespaces")[0] == "root graph"
    assert {"messages", "log"} <= {*names(page, "Channels")}
    assert len(names(page, "The largest threads")) == min(20, len(written.graphs))
    assert "would free" in page.one("dl.totals").words
    assert " of the content estimated" in page.one("dl.totals").words


async def test_each_of_the_largest_threads_leads_to_its_timeline(shapes: AsyncClient) -> None:
    page = await load(shapes, URL)
    links = page.find("table.heavy th a")
    assert links[0]["href"] == addresses.timeline("agent-store", links[0].text)
    assert (await shapes.get(links[0]["href"])).status_code == 200


async def test_threads_and_stores_lead_to_it(
    at: Callable[..., AsyncClient], in_file: Written, own: Path
) -> None:
    reader = at(in_file.path, own)
    assert URL in [link["href"] for link in (await load(reader, "/s/agent-store/threads/")).find("p a")]
    assert URL in [link["href"] for link in (await load(reader, "/")).find("p.facts a")]


async def test_calls_of_subgraphs_are_one_line_without_their_ids(
    at: Callable[..., AsyncClient], tmp_path: Path
) -> None:
    with OfficialSaver.from_conn_string(str(tmp_path / "calls.sqlite")) as saver:
        for number in range(3):
            nested(saver).invoke({"log": []}, config(f"t-{number}"))
    page = await load(at(tmp_path / "calls.sqlite"), "/s/calls/bytes/")
    assert {*names(page, "Namespaces")} == {"root graph", "calls of middle", "calls of middle › inner"}


async def test_what_is_stored_is_text_on_the_page(at: Callable[..., AsyncClient], tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>{{ 7 }}"
    path = tmp_path / "own.sqlite"
    with OfficialSaver.from_conn_string(str(path)) as saver:
        nested(saver).update_state(config(hostile), {"log": []}, as_node="middle")
    with closing(sqlite3.connect(path)) as conn, conn:
        sql = "INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, value) "
        conn.execute(f"{sql} VALUES ('w', ?, 'c', 't', 0, ?, x'00')", (hostile, hostile))
    page = await load(at(path), "/s/own/bytes/")
    assert names(page, "The largest threads") == [hostile, "w"]
    assert hostile in names(page, "Channels")
    assert hostile in names(page, "Namespaces")


async def test_a_large_store_says_what_was_looked_at(
    shapes: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkpoints.stores.postgres.usage.PAGES", 1)
    monkeypatch.setattr("checkpoints.stores.sqlite.usage.STRETCH", 50)
    monkeypatch.setattr("checkpoints.stores.sqlite.usage.SECONDS", -1)
    forget()  # what the page said of the same store
    page = await load(shapes, URL)
    assert "numbers are estimates" in page.one("p.notice").text


async def test_an_empty_store_says_so(at: Callable[..., AsyncClient], tmp_path: Path) -> None:
    with OfficialSaver.from_conn_string(str(tmp_path / "new.sqlite")) as saver:
        saver.setup()
    page = await load(at(tmp_path / "new.sqlite"), "/s/new/bytes/")
    assert "There are no threads." in page.text
    assert "would free" not in page.text
