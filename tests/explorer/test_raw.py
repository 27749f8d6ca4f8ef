"""Raw JSON: what the saver returns, with types where JSON has none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from graphs import AWKWARD, Written, config, official_saver
from pages import load, parse

from explorer import addresses

if TYPE_CHECKING:
    from django.test import AsyncClient
    from langgraph.checkpoint.base import CheckpointTuple

STORE = "agent-store"


def plain(found: CheckpointTuple) -> dict[str, Any]:
    """Return what the official saver gives as the JSON that it would be."""
    writes = [
        {"task_id": task, "channel": channel, "value": value} for task, channel, value in found.pending_writes
    ]
    whole = {**found._asdict(), "pending_writes": writes}
    return dict(json.loads(json.dumps(whole, default=sorted)))


def unmarked(document: dict[str, Any]) -> Any:
    """Return sets as sorted lists, as `plain` does."""
    return sorted(document["value"]) if document.get("$type") == "builtins.set" else document


async def downloaded(browser: AsyncClient, thread: str, id: str, ns: str = "") -> dict[str, Any]:
    response = await browser.get(addresses.raw(STORE, thread, id, ns=ns, download=True))
    assert response.headers["Content-Type"].startswith("application/json")
    return dict(json.loads(response.content))


def head(written: Written, thread: str) -> str:
    state = next(state for owner, state in written.states if owner == thread)
    return str(state.config["configurable"]["checkpoint_id"])


@pytest.mark.parametrize("thread", ["joining", "forked"])
async def test_the_download_is_what_the_official_saver_returns(
    shapes: AsyncClient, written: Written, thread: str
) -> None:
    with official_saver(written.path) as saver:
        official = list(saver.list(config(thread)))
    assert len(official) > 3
    for found in official:
        id = found.config["configurable"]["checkpoint_id"]
        shown = json.dumps(await downloaded(shapes, thread, id))
        assert json.loads(shown, object_hook=unmarked) == plain(found)


async def test_the_page_shows_the_same_as_the_download(shapes: AsyncClient, written: Written) -> None:
    for thread in ("chat", "asking", "functional", "fan-out", AWKWARD):
        page = await load(shapes, addresses.raw(STORE, thread, head(written, thread)))
        shown = json.loads(page.one("pre.code").text)
        assert shown == await downloaded(shapes, thread, head(written, thread))


async def test_what_json_has_no_word_for_keeps_its_type(shapes: AsyncClient, written: Written) -> None:
    found = (await downloaded(shapes, "chat", head(written, "chat")))["checkpoint"]["channel_values"]
    assert found["order"]["$type"] == "graphs.Order"
    assert found["order"]["value"]["paid"]["$type"] == "decimal.Decimal"
    assert found["point"] == {
        "$type": "graphs.Point",
        "kind": found["point"]["kind"],
        "value": {"x": 1, "y": 2},
    }
    assert found["seen"]["$type"] == "builtins.set"
    assert [message["$type"].rpartition(".")[2] for message in found["messages"]] == [
        "HumanMessage",
        "AIMessage",
        "ToolMessage",
        "AIMessage",
    ]


async def test_every_checkpoint_of_every_thread_can_be_downloaded(
    shapes: AsyncClient, written: Written
) -> None:
    for thread, state in written.states:
        address = state.config["configurable"]
        found = await downloaded(shapes, thread, address["checkpoint_id"])
        assert found["config"]["configurable"] == address
        assert found["metadata"] == state.metadata
        assert found["parent_config"] == (state.parent_config and {**state.parent_config})


async def test_a_checkpoint_of_a_subgraph_can_be_downloaded(shapes: AsyncClient) -> None:
    timeline = await load(shapes, addresses.timeline(STORE, "nested"))
    ns = timeline.find("details.namespaces a")[-1]["title"]
    id = (await load(shapes, addresses.timeline(STORE, "nested", ns=ns))).find("a.step")[0]["title"]
    found = await downloaded(shapes, "nested", id, ns)
    assert found["config"]["configurable"] == {
        "thread_id": "nested",
        "checkpoint_ns": ns,
        "checkpoint_id": id,
    }


async def test_a_long_text_is_cut_in_the_page_and_whole_in_the_download(
    shapes: AsyncClient, written: Written
) -> None:
    page = await load(shapes, addresses.raw(STORE, "big", head(written, "big")))
    found = await downloaded(shapes, "big", head(written, "big"))
    assert "more characters are in the download" in page.one("p.notice").text
    assert len(page.one("pre.code").text) == 200_000
    assert found["checkpoint"]["channel_values"]["big"] == "x" * 200_000


@pytest.mark.parametrize("thread", ["chat", AWKWARD])
async def test_a_download_is_a_file_with_a_harmless_name(
    shapes: AsyncClient, written: Written, thread: str
) -> None:
    response = await shapes.get(addresses.raw(STORE, thread, head(written, thread), download=True))
    kind, _, name = response.headers["Content-Disposition"].partition("; ")
    assert kind == "attachment"
    assert name.removeprefix('filename="').removesuffix('.json"').translate(HARMLESS) == ""


HARMLESS = str.maketrans("", "", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-~")


async def test_the_page_leads_back_and_to_the_download(shapes: AsyncClient, written: Written) -> None:
    id = head(written, "chat")
    page = await load(shapes, addresses.raw(STORE, "chat", id))
    links = {link["href"] for link in page.find("main a")}
    assert {addresses.checkpoint(STORE, "chat", id), addresses.raw(STORE, "chat", id, download=True)} <= links


async def test_htmx_gets_the_raw_part_alone(shapes: AsyncClient, written: Written) -> None:
    url = addresses.raw(STORE, "chat", head(written, "chat"))
    alone = await load(shapes, url, HX_Request="true")
    assert alone.find("body") == []
    assert alone.one("pre.code").text == (await load(shapes, url)).one("pre.code").text


async def test_an_unknown_checkpoint_is_not_downloaded(shapes: AsyncClient) -> None:
    response = await shapes.get(addresses.raw(STORE, "chat", "nothing", download=True))
    assert response.status_code == 404
    assert "It may have been deleted" in parse(response.content.decode()).text
