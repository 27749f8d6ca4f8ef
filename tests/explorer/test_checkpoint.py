"""The page of one checkpoint: changes first, the state as typed values, what its tasks left."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from graphs import AWKWARD, HUMAN, Written, config, official_saver
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from pages import load, parse
from pydantic import create_model

from checkpoints.errors import CheckpointNotFound, ThreadNotFound
from explorer import addresses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import AsyncClient
    from pages import Element

STORE = "agent-store"
MARKUP = '<a href="/" hx-get="/" class="injected">x</a><script>alert(1)</script><img src=x onerror=alert(2)>'


def head(written: Written, thread: str) -> str:
    state = next(state for owner, state in written.states if owner == thread)
    return str(state.config["configurable"]["checkpoint_id"])


async def inspector(browser: AsyncClient, written: Written, thread: str) -> Element:
    page = await load(browser, addresses.checkpoint(STORE, thread, head(written, thread)))
    return page.one("article[data-checkpoint]")


def channels(page: Element) -> dict[str, Element]:
    return {str(channel.one("h3").children[0]).strip(): channel for channel in page.find("div.channel")}


def write_markup(path: Path) -> Any:
    """Run a graph whose every name and text is markup, and return the head's config."""
    state: Any = TypedDict(
        "State", {MARKUP: str, "typed": Any, "messages": Annotated[list[AnyMessage], add_messages]}
    )
    odd = create_model(MARKUP, text=(str, MARKUP), __module__=MARKUP)
    call = {"name": MARKUP, "args": {MARKUP: MARKUP}, "id": MARKUP}
    message = AIMessage(MARKUP, id=MARKUP, name=MARKUP, tool_calls=[call])
    with OfficialSaver.from_conn_string(str(path)) as saver:
        graph = StateGraph(state).add_node(
            MARKUP, lambda _: {MARKUP: MARKUP, "typed": odd(), "messages": [message]}
        )
        compiled = graph.add_edge(START, MARKUP).compile(saver)
        compiled.invoke({MARKUP: MARKUP}, config(MARKUP, **{MARKUP: MARKUP, "user_id": MARKUP}))
        return compiled.get_state(config(MARKUP)).config


async def test_every_checkpoint_shows_its_id_and_parent(shapes: AsyncClient, written: Written) -> None:
    for thread, state in written.states:
        id = state.config["configurable"]["checkpoint_id"]
        parent = state.parent_config and state.parent_config["configurable"]["checkpoint_id"]
        page = await load(shapes, addresses.checkpoint(STORE, thread, id), HX_Request="true")
        assert page.one("article[data-checkpoint]")["data-checkpoint"] == id
        links = [link for link in page.one("dl.facts").find("a") if link["href"].startswith("/s/")]
        assert [link["href"] for link in links][:1] == (
            [addresses.checkpoint(STORE, thread, parent)] if parent else []
        )
        assert [link.words for link in links][1:] in ([], ["step 1", "compare with it"])


async def test_changes_come_before_writes_and_state(shapes: AsyncClient, written: Written) -> None:
    page = await inspector(shapes, written, "chat")
    sections = [section["id"] for section in page.find("section.section")]
    assert sections == ["changes", "writes", "state", "metadata", "versions", "code"]
    (change,) = page.find("#changes div.change")
    assert "messages" in change.one("h3").text
    assert [card.one("div.body").text for card in change.find("article.msg")] == ["It was shipped."]
    in_any_order = page.one("#changes").words.partition("Unchanged: ")[2].split(", ")
    assert sorted(in_any_order) == ["at", "order", "point", "ref", "seen"], "JSONB keeps none"


async def test_messages_are_a_conversation_with_tool_calls(shapes: AsyncClient, written: Written) -> None:
    page = channels(await inspector(shapes, written, "chat"))["messages"]
    cards = page.find("article.msg")
    assert [card["class"].split()[1] for card in cards] == ["human", "ai", "tool", "ai"]
    assert cards[0].one("div.body").text == HUMAN
    assert cards[1].one("div.call b").text == "lookup_order"
    assert "98-1143" in cards[1].one("div.call").text
    assert cards[2].one("p.answers code").text == "call-1"


async def test_values_keep_their_types(shapes: AsyncClient, written: Written) -> None:
    found = {
        name: channel.words for name, channel in channels(await inspector(shapes, written, "chat")).items()
    }
    assert "graphs.Order" in found["order"]
    assert "240.00 decimal.Decimal" in found["order"]
    assert "graphs.Point" in found["point"]
    assert "set" in found["seen"]
    assert "2026-01-02T03:04:00+00:00" in found["at"]
    assert "00000000-0000-0000-0000-000000000007" in found["ref"]


async def test_pending_writes_are_those_of_the_official_saver(shapes: AsyncClient, written: Written) -> None:
    with official_saver(written.path) as saver:
        for thread in ("fan-out", "failing", "asking", "functional", AWKWARD):
            official = saver.get_tuple(config(thread))
            page = await inspector(shapes, written, thread)
            shown = [
                (task.one("p.mono").text.split()[1], str(write.one("h4").children[0]).rstrip())
                for task in page.find("#writes div.task-writes")
                for write in task.find("div.write")
            ]
            assert shown == [(task, channel) for task, channel, _ in official.pending_writes]


async def test_questions_and_errors_of_tasks_are_loud(shapes: AsyncClient, written: Written) -> None:
    asking = (await inspector(shapes, written, "asking")).one("#writes")
    assert asking.one("h3 span.tag").text == "interrupt"
    assert "Approve the refund?" in asking.one("p.question").text
    failing = (await inspector(shapes, written, "failing")).one("#writes")
    assert [tag.text for tag in failing.find("h3 span.tag")] == ["error"]
    assert "cannot divide <b>pallets</b> by zero" in failing.one("pre.error").text


async def test_metadata_and_versions_are_those_of_the_official_saver(
    shapes: AsyncClient, written: Written
) -> None:
    with official_saver(written.path) as saver:
        official = saver.get_tuple(config("chat"))
    page = await inspector(shapes, written, "chat")
    rows = [[cell.words for cell in row.find("th") + row.find("td")] for row in page.find("#versions tr")]
    versions = official.checkpoint["channel_versions"]
    assert {name: version for name, version, _ in rows[: len(versions)]} == versions
    seen = [
        [node, *pair]
        for node, pairs in official.checkpoint["versions_seen"].items()
        for pair in pairs.items()
    ]
    assert [row for row in rows[len(versions) :] if row[1] != "nothing"] == seen
    assert {line.one("span.k").text for line in page.find("#metadata div.leaf")} >= {
        "source",
        "step",
        "user_id",
    }


@pytest.mark.parametrize("thread", ["chat", "nested", AWKWARD])
async def test_the_snippet_addresses_the_checkpoint(
    shapes: AsyncClient, written: Written, thread: str
) -> None:
    page = await inspector(shapes, written, thread)
    namespace: dict[str, Any] = {"graph": written.graphs[thread]}
    assert page.one("#code pre").text == page.one("#code button")["data-copy"]
    with official_saver(written.path) as saver:
        exec(page.one("#code pre").text.rpartition("\n")[0], namespace)
        found = saver.get_tuple(namespace["config"])
    assert found.checkpoint["id"] == head(written, thread)


async def test_a_checkpoint_of_a_subgraph_has_an_address_and_a_snippet(shapes: AsyncClient) -> None:
    timeline = await load(shapes, addresses.timeline(STORE, "nested"))
    innermost = timeline.find("details.namespaces a")[-1]
    step = (await load(shapes, innermost["href"])).find("a.step")[0]
    page = await load(shapes, step["href"])
    assert f'"checkpoint_ns": {innermost["title"]!r}' in page.one("#code pre").text
    assert page.one("a.step[aria-current=true]")["title"] == step["title"]


async def test_the_page_shows_the_timeline_beside_and_htmx_gets_the_inspector(
    shapes: AsyncClient, written: Written
) -> None:
    url = addresses.checkpoint(STORE, "chat", head(written, "chat"))
    page = await load(shapes, url)
    assert len(page.find("section.timeline a.step")) == 5
    alone = await load(shapes, url, HX_Request="true")
    assert alone.find("a.step") == alone.find("body") == []
    assert alone.one("article[data-checkpoint]").words == page.one("article[data-checkpoint]").words


async def test_the_page_of_an_old_checkpoint_shows_the_timeline_around_it(
    crowd: AsyncClient, crowded: Path | str
) -> None:
    with official_saver(crowded) as saver:
        *_, oldest = saver.list(config("long"))
    id = oldest.config["configurable"]["checkpoint_id"]
    page = await load(crowd, addresses.checkpoint("crowd", "long", id))
    assert page.one("a.step[aria-current=true]")["title"] == id
    assert page.find("a[rel=prev]")


async def test_a_big_value_is_not_in_the_page(shapes: AsyncClient, written: Written) -> None:
    response = await shapes.get(addresses.checkpoint(STORE, "big", head(written, "big")))
    assert len(response.content) < 40_000
    big = channels(parse(response.content.decode()))["big"]
    assert "part=values&channel=big" in big.one("div.rest a")["href"]


@pytest.mark.parametrize("id", ["nothing", "", "é/..", "1" * 500])
async def test_an_unknown_checkpoint_is_not_found_and_says_why(shapes: AsyncClient, id: str) -> None:
    for page in ("", "raw/"):
        response = await shapes.get(addresses.checkpoint(STORE, "chat", id) + page)
        assert response.status_code == 404
        assert CheckpointNotFound.advice in response.content.decode()


async def test_a_checkpoint_of_another_namespace_or_thread_is_not_found(
    shapes: AsyncClient, written: Written
) -> None:
    id = head(written, "chat")
    for url in (addresses.checkpoint(STORE, "chat", id, ns="x:y"), addresses.checkpoint(STORE, "asking", id)):
        assert (await shapes.get(url)).status_code == 404
    response = await shapes.get(addresses.checkpoint(STORE, "nobody", id))
    assert re.search(f"{CheckpointNotFound.advice}|{ThreadNotFound.advice}", response.content.decode())


async def test_a_rotten_state_says_why_and_keeps_its_metadata(
    at: Callable[..., AsyncClient], own: Path
) -> None:
    with closing(sqlite3.connect(own)) as conn, conn:
        conn.execute("UPDATE checkpoints SET checkpoint = x'c1'")
    browser = at(own)
    step = (await load(browser, "/s/own/threads/asking/")).find("a.step")[0]
    page = await load(browser, step["href"])
    assert "This row cannot be decoded" in page.one("p.notice").text
    assert "The state cannot be shown." in page.one("#state").text
    assert "ben" in page.one("#metadata").text


async def test_nothing_stored_becomes_markup(at: Callable[..., AsyncClient], tmp_path: Path) -> None:
    address = write_markup(tmp_path / "markup.sqlite")["configurable"]
    browser = at(tmp_path / "markup.sqlite")
    timeline = addresses.timeline("markup", MARKUP)
    inside = addresses.checkpoint("markup", MARKUP, address["checkpoint_id"])
    raw = addresses.raw("markup", MARKUP, address["checkpoint_id"])
    value = addresses.value("markup", MARKUP, address["checkpoint_id"], channel=MARKUP)
    urls = ("/s/markup/threads/", timeline, f"{timeline}?density=everything", inside, raw, value)
    for url in (
        *urls,
        addresses.threads("markup", q=MARKUP),
        addresses.timeline("markup", MARKUP, ns=MARKUP),
    ):
        page = await load(browser, url)
        assert MARKUP in page.text
        assert page.find("a.injected") == page.find("img") == []
        assert all(script["src"].startswith("/static/") for script in page.find("script"))
