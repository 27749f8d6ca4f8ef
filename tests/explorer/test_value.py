"""A part of a value by its address: all of what a page leaves out can be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict
from urllib.parse import urlencode

import pytest
from graphs import Written, config
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from pages import load, parse

from explorer import addresses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import AsyncClient
    from pages import Element

STORE = "agent-store"
TEXT = "".join(f"{number:06} " for number in range(30_000))


class State(TypedDict, total=False):
    text: str
    many: list[int]
    deep: dict[str, Any]
    messages: Annotated[list[AnyMessage], add_messages]


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with one checkpoint of large values, and its id."""
    path = tmp_path_factory.mktemp("large") / "large.sqlite"
    talk = [
        HumanMessage(f"question {n}" + " really?" * (600 if n == 1 else 0), id=f"m{n}") for n in range(150)
    ]
    values = {"text": TEXT, "many": list(range(450)), "deep": {"a": [{"b": TEXT}]}, "messages": talk}
    with OfficialSaver.from_conn_string(str(path)) as saver:
        graph = StateGraph(State).add_node("write", lambda _: {"messages": [AIMessage("end")]})
        compiled = graph.add_edge(START, "write").compile(saver)
        compiled.invoke(values, config("large", note=TEXT))
        return path, compiled.get_state(config("large")).config["configurable"]["checkpoint_id"]


@pytest.fixture
async def browser(at: Callable[..., AsyncClient], large: tuple[Path, str]) -> AsyncClient:
    return at(large[0])


def rest(page: Element) -> list[str]:
    """Return the addresses of what a page leaves out."""
    return [link["href"] for link in page.find(".rest a")]


async def everything(browser: AsyncClient, url: str, selector: str) -> list[str]:
    """Return the texts of a value, following what each part leaves out."""
    texts: list[str] = []
    while url:
        page = await load(browser, url, HX_Request="true")
        texts += [found.text for found in page.find(selector)]
        url = next(iter(rest(page)[::-1]), "")
    return texts


def head(written: Written, thread: str) -> str:
    state = next(state for owner, state in written.states if owner == thread)
    return str(state.config["configurable"]["checkpoint_id"])


async def test_all_of_a_long_text_is_behind_its_links(browser: AsyncClient, large: tuple[Path, str]) -> None:
    page = await load(browser, addresses.checkpoint("large", "large", large[1]))
    (link,) = [href for href in rest(page.one("#state")) if "channel=text" in href]
    parts = await everything(browser, link, "pre.text")
    assert len(parts) == 3
    assert "".join(parts) == TEXT


async def test_the_two_hundred_thousand_characters_are_all_there(
    shapes: AsyncClient, written: Written
) -> None:
    page = await load(shapes, addresses.checkpoint(STORE, "big", head(written, "big")))
    (link,) = [href for href in rest(page.one("#state")) if "channel=big" in href]
    assert "".join(await everything(shapes, link, "pre.text")) == "x" * 200_000


async def test_all_items_of_a_list_are_behind_its_links(
    browser: AsyncClient, large: tuple[Path, str]
) -> None:
    url = addresses.value("large", "large", large[1], channel="many")
    assert await everything(browser, url, "div.leaf .v-number") == [str(number) for number in range(450)]


async def test_all_messages_are_behind_their_links(browser: AsyncClient, large: tuple[Path, str]) -> None:
    url = addresses.value("large", "large", large[1], channel="messages")
    found = await everything(browser, url, "article.msg code.mid")
    assert len(found) == 151
    assert found[:150] == [f"m{number}" for number in range(150)]


async def test_a_conversation_shows_its_end_and_leads_to_what_came_before(
    browser: AsyncClient, large: tuple[Path, str]
) -> None:
    page = await load(browser, addresses.checkpoint("large", "large", large[1]))
    (channel,) = [
        found for found in page.find("#state div.channel") if found.one("h3").text.startswith("mess")
    ]
    cards = channel.find("article.msg code.mid")
    assert [card.text for card in cards[:-1]] == [f"m{number}" for number in range(131, 150)]
    assert "131 earlier" in channel.find(".rest a")[0].text


async def test_a_long_message_is_cut_and_can_be_read_whole(
    browser: AsyncClient, large: tuple[Path, str]
) -> None:
    page = await load(browser, addresses.value("large", "large", large[1], channel="messages"))
    (link,) = [href for href in rest(page) if "path=1" in href]
    assert "".join(await everything(browser, link, "pre.text")) == "question 1" + " really?" * 600


async def test_a_part_deep_inside_has_an_address(browser: AsyncClient, large: tuple[Path, str]) -> None:
    page = await load(browser, addresses.checkpoint("large", "large", large[1]))
    (link,) = [href for href in rest(page.one("#state")) if "channel=deep" in href]
    assert link == addresses.value("large", "large", large[1], channel="deep", path=(0, 0, 0))
    assert "".join(await everything(browser, link, "pre.text")) == TEXT


async def test_long_metadata_and_writes_have_addresses_too(
    browser: AsyncClient, large: tuple[Path, str]
) -> None:
    timeline = await load(browser, "/s/large/threads/large/")
    oldest = await load(browser, timeline.find("a.step")[-1]["href"])
    for section in ("#metadata", "#writes"):
        links = [href for href in rest(oldest.one(section)) if "channel=m" not in href]
        texts = ["".join(await everything(browser, link, "pre.text")) for link in links]
        assert TEXT in texts, section


async def test_the_page_of_a_value_leads_back(browser: AsyncClient, large: tuple[Path, str]) -> None:
    page = await load(browser, addresses.value("large", "large", large[1], channel="many", path=(3,)))
    assert page.one("h1").words == "many part 3"
    assert addresses.checkpoint("large", "large", large[1]) in [link["href"] for link in page.find("p a")]


@pytest.mark.parametrize(
    "asked",
    [
        {"channel": "nothing"},
        {"channel": "many", "path": "450"},
        {"channel": "many", "path": "0.0"},
        {"part": "writes", "task": "nobody", "idx": "0"},
        {"part": "metadata", "path": "99"},
        {},
    ],
)
async def test_a_part_that_is_not_there_is_not_found_and_says_what_to_do(
    browser: AsyncClient, large: tuple[Path, str], asked: dict[str, str]
) -> None:
    response = await browser.get(
        addresses.value("large", "large", large[1]).partition("?")[0] + f"?{urlencode(asked)}"
    )
    assert response.status_code == 404
    assert "Go back to the checkpoint" in parse(response.content.decode()).one("section.error").text


@pytest.mark.parametrize(
    "asked",
    ["path=x", "path=-1", "start=-5", f"path={'9' * 30}", f"start={'9' * 30}", f"path={'1.' * 4_000}1"],
)
async def test_an_odd_address_breaks_nothing(
    browser: AsyncClient, large: tuple[Path, str], asked: str
) -> None:
    url = f"{addresses.value('large', 'large', large[1], channel='many')}&{asked}"
    assert (await browser.get(url)).status_code in (200, 404)
