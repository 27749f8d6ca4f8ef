"""The timeline of a namespace: every checkpoint once, what is pending loud, odd parents marked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from graphs import AWKWARD, config, joining, official_saver
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from pages import following, load, parse

from checkpoints.errors import ThreadNotFound
from explorer import addresses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import AsyncClient
    from graphs import Written
    from pages import Element

STORE = "agent-store"


def ids(page: Element) -> list[str]:
    return [step["title"] for step in page.find("a.step")]


def marks(page: Element) -> dict[str, list[str]]:
    """Return the remarks of each step by its id, after the source."""
    return {step["title"]: [tag.text for tag in step.find("span.tag")[1:]] for step in page.find("a.step")}


def history(written: Written, thread: str) -> list[Any]:
    return [state for owner, state in written.states if owner == thread]


def state_id(state: Any) -> str:
    return str(state.config["configurable"]["checkpoint_id"])


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A store of one thread with four checkpoints, each the parent of the next."""
    path = tmp_path / "chain.sqlite"
    with OfficialSaver.from_conn_string(str(path)) as saver:
        joining(saver).invoke({"log": []}, config("chain"))
    return path


def change(path: Path, sql: str, *parameters: str) -> None:
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(sql, parameters)


async def test_the_pages_show_every_checkpoint_once_the_newest_first(
    crowd: AsyncClient, crowded: Path | str
) -> None:
    shown = [id async for page in following(crowd, "/s/crowd/threads/long/") for id in ids(page)]
    with official_saver(crowded) as saver:
        official = [at.config["configurable"]["checkpoint_id"] for at in saver.list(config("long"))]
    assert len(shown) > 100
    assert shown == official


async def test_every_thread_shows_the_steps_that_langgraph_sees(
    shapes: AsyncClient, written: Written
) -> None:
    for thread in written.graphs:
        page = await load(shapes, addresses.timeline(STORE, thread))
        shown = [(step["title"], step.one("span.n").text) for step in page.find("a.step")]
        steps = [(state_id(at), str(at.metadata["step"])) for at in history(written, thread)]
        assert shown == [(id, number.replace("-", "−")) for id, number in steps]


@pytest.mark.parametrize("density", ["compact", "steps", "everything", "nonsense"])
async def test_every_density_shows_every_checkpoint(shapes: AsyncClient, density: str) -> None:
    page = await load(shapes, f"{addresses.timeline(STORE, 'chat')}?density={density}")
    assert ids(page) == ids(await load(shapes, addresses.timeline(STORE, "chat")))
    chosen = page.one("nav[aria-label=Density] a[aria-current=true]").text
    assert chosen == ("steps" if density == "nonsense" else density)


async def test_namespaces_are_a_tree_of_links(shapes: AsyncClient) -> None:
    page = await load(shapes, addresses.timeline(STORE, "nested"))
    tree = page.find("details.namespaces li")
    assert [line["class"] for line in tree] == ["depth-0", "depth-1", "depth-2"]
    assert [line.one("a").words.split()[0] for line in tree] == ["root", "middle", "inner"]
    for line in tree:
        inside = await load(shapes, line.one("a")["href"])
        assert inside.one("details.namespaces a[aria-current=true]")["title"] == line.one("a")["title"]
        assert len(ids(inside)) == int(line.words.split()[-1])


async def test_a_question_is_the_unfinished_next_step(shapes: AsyncClient) -> None:
    page = await load(shapes, addresses.timeline(STORE, "asking"))
    pending = page.one("section.pending")
    assert pending.one("b").text == "Next: ask"
    assert "waiting for an answer" in pending.text
    assert "Approve the refund?" in pending.one("p.question").text
    assert "interrupt" in marks(page)[ids(page)[0]]


async def test_an_error_is_shown_with_what_its_neighbour_wrote(shapes: AsyncClient) -> None:
    page = await load(shapes, addresses.timeline(STORE, "failing"))
    pending = page.one("section.pending")
    assert "cannot divide <b>pallets</b> by zero" in pending.one("pre.error").text
    assert "fine has written log" in pending.words
    assert "error" in marks(page)[ids(page)[0]]


async def test_a_finished_thread_has_nothing_pending(shapes: AsyncClient) -> None:
    assert (await load(shapes, addresses.timeline(STORE, "chat"))).find("section.pending") == []


async def test_only_the_newest_checkpoint_is_the_head(crowd: AsyncClient) -> None:
    first, *others = [page async for page in following(crowd, "/s/crowd/threads/long/")]
    assert [id for page in (first, *others) for id, tags in marks(page).items() if "head" in tags] == [
        ids(first)[0]
    ]


async def test_a_parent_that_is_not_the_one_below_is_marked(shapes: AsyncClient, written: Written) -> None:
    found = marks(await load(shapes, addresses.timeline(STORE, "forked")))
    states = history(written, "forked")
    below = [state_id(at) for at in states[1:]] + [None]
    for at, next_one in zip(states, below, strict=True):
        parent = at.parent_config and at.parent_config["configurable"]["checkpoint_id"]
        odd = [mark for mark in found[state_id(at)] if mark.startswith("from step")]
        assert bool(odd) == (parent is not None and parent != next_one)
    assert any("branches" in mark for tags in found.values() for mark in tags)


async def test_a_missing_parent_is_marked(at: Callable[..., AsyncClient], chain: Path) -> None:
    newest, parent, child, *_ = ids(await load(at(chain), "/s/chain/threads/chain/"))
    change(chain, "DELETE FROM checkpoints WHERE checkpoint_id = ?", parent)
    found = marks(await load(at(chain), "/s/chain/threads/chain/"))
    assert "parent missing" in found[newest]
    assert found[child] == ["tip"]


async def test_parents_in_a_circle_are_marked(at: Callable[..., AsyncClient], chain: Path) -> None:
    newest, *_, oldest = ids(await load(at(chain), "/s/chain/threads/chain/"))
    change(chain, "UPDATE checkpoints SET parent_checkpoint_id = ? WHERE checkpoint_id = ?", newest, oldest)
    assert "parent is not older" in marks(await load(at(chain), "/s/chain/threads/chain/"))[oldest]


async def test_a_rotten_row_is_marked_between_its_neighbours(
    at: Callable[..., AsyncClient], chain: Path
) -> None:
    before = ids(await load(at(chain), "/s/chain/threads/chain/"))
    change(chain, "UPDATE checkpoints SET checkpoint = x'c1' WHERE checkpoint_id = ?", before[1])
    page = await load(at(chain), "/s/chain/threads/chain/")
    assert ids(page) == before
    problems = {step["title"]: step.one("span.problem").text for step in page.find("a.step")}
    assert [id for id, problem in problems.items() if problem] == [before[1]]


async def test_an_awkward_thread_has_an_address(shapes: AsyncClient) -> None:
    page = await load(shapes, addresses.timeline(STORE, AWKWARD))
    assert page.one("section.timeline h1").text == AWKWARD
    for step in page.find("a.step"):
        assert step["href"] == step["hx-get"]
        await load(shapes, step["href"])


@pytest.mark.parametrize("thread", ["nobody", "", "chat ", "a/b", "\N{PILE OF POO}", "x" * 2_000])
async def test_an_unknown_thread_is_not_found_and_says_why(shapes: AsyncClient, thread: str) -> None:
    response = await shapes.get(addresses.timeline(STORE, thread))
    assert response.status_code == 404
    assert ThreadNotFound.advice in response.content.decode()


async def test_an_unknown_namespace_offers_the_others(shapes: AsyncClient) -> None:
    page = await load(shapes, addresses.timeline(STORE, "nested", ns="nowhere"))
    assert "No checkpoints here" in page.text
    assert len(page.find("details.namespaces a")) == 3


async def test_htmx_gets_the_pane_alone(shapes: AsyncClient) -> None:
    alone = await load(shapes, addresses.timeline(STORE, "chat"), HX_Request="true")
    assert len(ids(alone)) == 5
    assert alone.find("body") == alone.find("#inspector") == []


async def test_an_unknown_thread_is_a_fragment_for_htmx(shapes: AsyncClient) -> None:
    response = await shapes.get(addresses.timeline(STORE, "nobody"), headers={"HX-Request": "true"})
    alone = parse(response.content.decode())
    assert response.status_code == 404
    assert alone.find("body") == []
    assert alone.one("section.error[role=alert] h1").text
