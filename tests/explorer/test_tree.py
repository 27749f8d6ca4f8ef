"""The tree beside a timeline, its branches, and one of them followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from graphs import config
from pages import Element, following, load

from checkpoints.forking import fork

if TYPE_CHECKING:
    from forkable import Forkable


TIMELINE = "/s/forkable/threads/joining/"


def marks(page: Element) -> dict[str, list[str]]:
    return {step["title"]: [tag.text for tag in step.find("span.tag")[1:]] for step in page.find("a.step")}


def drawn(page: Element) -> list[tuple[list[str], list[str], str]]:
    """Return of each row the places of its lines, of those that join it, and of its dot."""
    return [
        (
            [line["x1"] for line in lane.find("line")],
            [path["d"].split("C")[0] for path in lane.find("path")],
            lane.one("circle")["cx"],
        )
        for lane in page.find("svg.lane")
    ]


@pytest.fixture
def branched(forkable: Forkable) -> Any:
    """The ids of the thread before it was forked twice, and those of the forks."""
    ids = forkable.ids("joining")
    copy = fork(str(forkable.place), "joining", ids[2], reason="again", author="ana")
    edit = fork(str(forkable.place), "joining", ids[2], values={"log": ["edited"]})
    return ids, copy.checkpoint_id, edit.checkpoint_id


async def test_a_thread_without_branches_takes_one_column(forkable: Forkable) -> None:
    page = await load(forkable.browser, TIMELINE)
    assert page.one("ol.steps")["class"] == "steps steps w-1"
    assert page.find("details.branches") == []
    assert drawn(page) == [
        (["18"], [], "18"),
        *[(["18", "18"], [], "18")] * 3,
        (["18"], [], "18"),
    ]


async def test_branches_have_lanes_and_join_where_they_part(forkable: Forkable, branched: Any) -> None:
    page = await load(forkable.browser, TIMELINE)
    assert page.one("ol.steps")["class"] == "steps steps w-3"
    rows = drawn(page)
    assert [dot for _, _, dot in rows] == ["18", "32", "46", "46", "46", "18", "18"]
    assert rows[5][1] == ["M32 0", "M46 0"]  # three siblings have one parent
    assert [lane.find("line.trunk") != [] for lane in page.find("svg.lane")] == [True] * 7


async def test_forks_say_what_they_are(forkable: Forkable, branched: Any) -> None:
    ids, copy, edit = branched
    found = marks(await load(forkable.browser, TIMELINE))
    assert found[edit] == ["head", "edits step 1", "from step 0"]
    assert found[copy] == ["tip", "copy of step 1", "from step 0"]
    assert found[ids[0]] == ["tip"]
    assert found[ids[2]] == []
    assert found[ids[3]] == ["3 branches"]


async def test_the_reason_of_a_fork_stands_in_its_row_and_not_among_the_metadata(
    forkable: Forkable, branched: Any
) -> None:
    _, copy, _ = branched
    page = await load(forkable.browser, f"{TIMELINE}?density=everything")
    row = page.one(f'a.step[title="{copy}"]')
    assert row.one(".fork-note").words == "“again” · ana"
    assert "fork_reason" not in row.words


async def test_the_branches_are_listed_and_each_can_be_followed(forkable: Forkable, branched: Any) -> None:
    ids, copy, edit = branched
    page = await load(forkable.browser, TIMELINE)
    lines = page.one("details.branches").find("li")
    assert [line.words.split(" · ")[0] for line in lines] == [
        "step 2 head fork 1 checkpoint of its own",
        "step 2 fork “again”",
        "step 3 loop 3 checkpoints of its own",
    ]
    for line, tip, own in zip(lines, (edit, copy, ids[0]), (1, 1, 3), strict=True):
        followed = await load(forkable.browser, line.one("a")["href"])
        shown = [step["title"] for step in followed.find("a.step")]
        assert shown == [*[tip, *ids][:1], *ids[3:]] if own == 1 else shown == ids
        assert followed.one("ol.steps")["class"].endswith("w-1")
        assert tip in followed.one(".followed").words
        assert followed.one("details.branches a[aria-current=true]")["title"] == tip
        whole = await load(forkable.browser, followed.one(".followed a")["href"])
        assert len(whole.find("a.step")) == 7


async def test_a_step_of_a_followed_branch_opens_beside_that_branch(
    forkable: Forkable, branched: Any
) -> None:
    ids, copy, _ = branched
    page = await load(forkable.browser, f"{TIMELINE}?branch={copy}")
    step = await load(forkable.browser, page.find("a.step")[1]["href"])
    assert [each["title"] for each in step.find("#timeline a.step")] == [copy, *ids[3:]]
    assert step.one("#timeline a.step[aria-current=true]")["title"] == ids[3]


async def test_a_long_branch_goes_page_by_page(forkable: Forkable) -> None:
    graph = forkable.graphs["joining"]
    for _ in range(25):
        graph.invoke({"log": []}, config("long"))
    ids = forkable.ids("long")
    at: Any = {"configurable": {"thread_id": "long", "checkpoint_ns": "", "checkpoint_id": ids[60]}}
    graph.update_state(at, {"log": ["x"]}, as_node="a")
    shown = [
        step["title"]
        async for page in following(forkable.browser, f"/s/forkable/threads/long/?branch={ids[0]}")
        for step in page.find("a.step")
    ]
    assert shown == ids


async def test_a_branch_that_is_not_there_shows_nothing_and_leads_back(forkable: Forkable) -> None:
    page = await load(forkable.browser, f"{TIMELINE}?branch=nobody")
    assert page.find("a.step") == []
    assert page.one(".followed a")["href"] == TIMELINE


async def test_fifty_branches_share_the_last_column(
    forkable: Forkable, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = forkable.ids("joining")
    for _ in range(50):
        fork(str(forkable.place), "joining", ids[2])
    page = await load(forkable.browser, TIMELINE)
    assert page.one("ol.steps")["class"].endswith("w-14")
    assert max(int(dot) for _, _, dot in drawn(page)) == 18 + 13 * 8
    assert max(len(lane.find("line") + lane.find("path")) for lane in page.find("svg.lane")) <= 2 * 14
    assert page.one("details.branches summary").words == "51 branches"
    assert len({link["href"] for link in page.find("details.branches a")}) == 51
    for kind in ("sqlite", "postgres"):
        monkeypatch.setattr(f"checkpoints.stores.{kind}.timeline.MOST_TIPS", 5)
    page = await load(forkable.browser, f"{TIMELINE}?density=compact")
    assert len(page.find("details.branches a")) == 5
    assert "46 older branches are not listed" in page.one("details.branches").words
