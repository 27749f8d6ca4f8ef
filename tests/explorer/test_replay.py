"""The page of a replay: what it waits for, how far it is, what came of it, and what can be done about it."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone
from graphs import config
from pages import load, parse
from replaying import claimed, ended, replays, told_of

from checkpoints.stores import Location
from explorer import stores
from explorer.database.threads import in_database
from explorer.models import Replay, Worker
from explorer.replays import requests
from explorer.replays.requests import Request, ask

if TYPE_CHECKING:
    from forkable import Forkable
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.usefixtures("app_database")


async def asked(forkable: Forkable, thread: str = "asking", nth: int = 0, **more: Any) -> Replay:
    ids = forkable.ids(thread)
    given: dict[str, Any] = {
        "step": 1,
        "kind": "replay",
        "graph": thread,
        "given": {},
        "former": ids[0],
        **more,
    }
    key = stores.key(Location.parse(str(forkable.place)))
    return await in_database(ask, Request(key, thread, "", ids[nth], **given))


async def page_of(forkable: Forkable, replay: Replay) -> Any:
    return await load(forkable.browser, f"/replays/{replay.id}/")


def checkpoint(id: str, step: int, source: str = "loop") -> dict[str, Any]:
    return {"type": "checkpoint", "id": id, "ns": "", "parent": "", "step": step, "source": source}


async def test_a_queued_replay_says_what_it_waits_for(forkable: Forkable) -> None:
    first = await asked(forkable)
    assert (
        "a worker that has the graph 'asking': none is running now"
        in (await page_of(forkable, first)).one("#progress .notice").words
    )
    await told_of(forkable)
    assert (await page_of(forkable, first)).one(
        "#progress .notice"
    ).words == "It waits for a worker to take it."
    await claimed(first)
    second = await asked(forkable)
    waits = (await page_of(forkable, second)).one("#progress .notice")
    assert waits.words == "It waits for another replay of this thread to end. Look at it"
    assert waits.one("a")["href"] == f"/replays/{first.id}/"
    gone = timezone.now() - timedelta(minutes=5)
    await in_database(lambda: Worker.objects.update(seen_at=gone))
    assert "none is running now" in (await page_of(forkable, await asked(forkable, "joining"))).words


async def test_a_running_replay_shows_its_nodes_its_checkpoints_and_its_words(forkable: Forkable) -> None:
    run = await claimed(await asked(forkable, reason="<b>why</b>", author="ana"))
    leaf = {"task": "3", "node": "leaf", "ns": "sub:1|deep:2"}
    told = [
        checkpoint("1f0c-a", 2, "fork"),
        {"type": "started", "task": "1", "node": "agent", "ns": ""},
        {"type": "text", "node": "agent", "ns": "", "message": "m", "text": "Hello <i>you"},
        {"type": "kept", "task": "2", "node": "other", "ns": ""},
        {**leaf, "type": "started"},
        {
            "type": "finished",
            "task": "3",
            "node": "leaf",
            "ns": "sub:1|deep:2",
            "seconds": 0.25,
            "interrupts": 1,
        },
        {"type": "custom", "ns": "", "text": "{'percent': 3}"},
    ]
    await in_database(requests.report, run, told, "printed <script>")
    page = await page_of(forkable, run)
    lines = [line.words for line in page.find("ol.run li")]
    assert lines == [
        "fork step 2 1f0c-a",
        "agent running",
        "agent saysHello <i>you",
        "other kept",
        "leaf interrupt 250 ms",
        "told {'percent': 3}",
    ]
    assert "depth-2" in page.find("ol.run li")[4]["class"]
    assert page.one(".state").words == "running"
    assert page.one(".trace pre").text == "printed <script>"
    assert "“<b>why</b>”" in page.one("header.form-head").words
    assert page.one("[sse-connect]")["sse-connect"] == f"/replays/{run.id}/events/"
    assert page.one("noscript meta")["content"] == "2"


async def test_a_failed_replay_shows_its_error_and_what_was_cut_off(forkable: Forkable) -> None:
    run = await claimed(await asked(forkable))
    started = {"type": "started", "task": "1", "node": "agent", "ns": ""}
    await ended(run, "failed", started, error="ValueError: <b>no</b>", traceback="File <x>, line 1")
    page = await page_of(forkable, run)
    assert page.one(".error-text").words == "ValueError: <b>no</b>"
    assert page.one(".trace pre").text == "File <x>, line 1"
    assert page.one("ol.run li").words == "agent cut off"
    assert page.find("[sse-connect]") == page.find("noscript meta") == []
    assert [button.words for button in page.find("article .button")] == ["Ask again…"]


async def test_a_replay_that_waits_now_has_the_form_for_the_answer(forkable: Forkable) -> None:
    await told_of(forkable)
    ids = forkable.ids("asking")
    run = await claimed(await asked(forkable, nth=1, given={"configurable": {"tenant": "x"}}, step_limit=7))
    await ended(run, "interrupted", checkpoint(ids[0], 1))
    page = await page_of(forkable, run)
    form = next(form for form in page.find("form[method=post]") if form.find("textarea"))
    assert form["action"] == forkable.url("asking", ids[0], "replay/", kind="resume")
    fields = {field["name"]: field["value"] for field in form.find("input[name]")}
    answer = await forkable.browser.post(form["action"], {**fields, "answer": "yes", "answer_as": "text"})
    assert answer.status_code == 303
    [_, made] = await replays()
    assert (made.kind, made.given["answers"], made.head) == ("resume", {"": "yes"}, ids[0])
    assert (made.given["configurable"], made.step_limit, made.graph) == ({"tenant": "x"}, 7, "asking")


async def ran_again(forkable: Forkable, nth: int) -> Replay:
    """Replay a checkpoint of the thread `joining` as a worker does."""
    run = await claimed(await asked(forkable, "joining", nth))
    at = {"thread_id": "joining", "checkpoint_ns": "", "checkpoint_id": run.checkpoint_id}
    graph = forkable.graphs["joining"]
    graph.invoke(None, {"configurable": at, "metadata": {"replay_id": str(run.id)}})
    await ended(run, "succeeded", checkpoint(forkable.ids("joining")[0], 9))
    return run


def beside(page: Any) -> list[list[str]]:
    """Return the rows of the table of both branches: step and node, and what stands between them."""
    rows = page.find("table.beside tbody tr")
    return [[step_of(cell) for cell in row.find("td")] for row in rows]


def step_of(cell: Any) -> str:
    return next((link.words for link in cell.find("a") if "·" in link.words), cell.words)


async def test_both_branches_stand_side_by_side_step_by_step(forkable: Forkable) -> None:
    run = await ran_again(forkable, 2)
    page = await page_of(forkable, run)
    assert page.one("#outcome").words == "Before, and in this replay"
    assert "of which LangGraph has made a copy to begin with" in page.words
    assert beside(page) == [
        ["2 · b1, b2", "3 · b1, b2", "= compare"],
        ["3 · join", "4 · join", "= compare"],
    ]
    for link in page.find("table.beside a"):
        assert (await forkable.browser.get(link["href"])).status_code == 200
    made = await load(forkable.browser, forkable.url("joining", forkable.ids("joining")[0]))
    assert f"/replays/{run.id}/" in [link["href"] for link in made.find("#inspector dl.facts a")]
    timeline = await load(forkable.browser, "/s/forkable/threads/joining/")
    marked = [step.one("b").words for step in timeline.find("a.step") if "A replay that was" in repr(step)]
    assert len([tag for tag in timeline.find("a.step .tag") if tag.words == "replay"]) == 1, marked


async def test_a_replay_stands_beside_what_came_after_the_same_checkpoint(forkable: Forkable) -> None:
    """Also where the head was on another branch by then, and only what the replay itself has made."""
    first, second = forkable.ids("joining")[2], await ran_again(forkable, 3)
    page = await page_of(forkable, await ran_again(forkable, forkable.ids("joining").index(first)))
    assert beside(page)[0] == ["2 · b1, b2", "3 · b1, b2", "= compare"]
    assert len(beside(page)) == 2
    graph = forkable.graphs["joining"]
    graph.invoke({"log": ["another turn"]}, config("joining"))
    again = await page_of(forkable, second)
    assert [row[0] for row in beside(again)] == ["1 · a", "2 · b1, b2", "3 · join"]


async def test_where_nothing_had_come_after_it_there_is_one_column(forkable: Forkable) -> None:
    run = await claimed(await asked(forkable, "joining", kind="input"))
    metadata = {"replay_id": str(run.id)}
    forkable.graphs["joining"].invoke({"log": ["x"]}, {**config("joining"), "metadata": metadata})
    await ended(run, "succeeded", checkpoint(forkable.ids("joining")[0], 9))
    page = await page_of(forkable, run)
    assert page.one("#outcome").words == "What this replay has stored"
    assert [len(row) for row in beside(page)] == [1] * 5


async def test_what_a_worker_of_one_s_own_has_made_is_found_in_the_store(forkable: Forkable) -> None:
    run = await claimed(await asked(forkable, graph=""))
    metadata = {"replay_id": str(run.id)}
    forkable.graphs["asking"].invoke({"log": ["x"]}, {**config("asking"), "metadata": metadata})
    await ended(run, "interrupted")
    page = await page_of(forkable, run)
    assert page.one(".answer .question").words.startswith("Approve the refund?")
    assert page.find("table.beside tbody tr")


async def test_a_replay_is_cancelled_and_can_be_asked_for_again(forkable: Forkable) -> None:
    await told_of(forkable)
    first = await asked(forkable)
    [cancel] = (await page_of(forkable, first)).find("article form")
    assert (await forkable.browser.post(cancel["action"])).status_code == 303
    page = await page_of(forkable, first)
    assert page.one(".state").words == "cancelled"
    again = page.one("article a.button")["href"]
    assert again == forkable.url("asking", first.checkpoint_id, "replay/", again=str(first.id))
    assert (await forkable.browser.get(again)).status_code == 200


async def test_replays_that_follow_one_another_are_linked(forkable: Forkable) -> None:
    head = forkable.ids("asking")[0]
    first = await claimed(await asked(forkable, nth=1))
    await ended(first, "interrupted", checkpoint(head, 1))
    second = await asked(forkable, kind="resume", given={"answers": {"": "yes"}})
    linked = [link["href"] for link in (await page_of(forkable, second)).find("header.form-head a")]
    assert f"/replays/{first.id}/" in linked
    facts = (await page_of(forkable, first)).one("header.form-head dl.facts")
    assert "followed by" in facts.words
    assert f"/replays/{second.id}/" in [link["href"] for link in facts.find("a")]


async def test_a_read_only_explorer_cancels_nothing(forkable: Forkable, settings: SettingsWrapper) -> None:
    first = await asked(forkable)
    settings.EXPLORER_READ_ONLY = True
    refused = await forkable.browser.post(f"/replays/{first.id}/cancel/")
    assert refused.status_code == 403
    assert "read-only" in refused.content.decode()


async def test_a_lost_replay_is_shown_as_lost_before_anybody_has_swept(forkable: Forkable) -> None:
    run = await claimed(await asked(forkable))
    late = timezone.now() - timedelta(seconds=1)
    await in_database(lambda: Replay.objects.update(lease_until=late))
    page = await page_of(forkable, run)
    assert page.one(".state").words == "lost"
    assert "Nothing starts it again by itself." in page.one("#progress .notice.bad").words
    assert page.find("[sse-connect]") == []
    row = await in_database(lambda: Replay.objects.get(id=run.id))
    assert row.state == "running"  # looking changes nothing


async def test_a_replay_of_a_store_that_is_not_open_is_still_shown(
    forkable: Forkable, settings: SettingsWrapper
) -> None:
    run = await claimed(await asked(forkable))
    await ended(run, "succeeded", checkpoint("1f0c", 1))
    settings.EXPLORER_STORES = ()
    page = await page_of(forkable, run)
    assert "which is not open here" in page.words
    assert page.find("article a[href^='/s/']") == []


async def test_an_unknown_replay_is_not_found(forkable: Forkable) -> None:
    for page in ("", "events/"):
        answer = await forkable.browser.get(f"/replays/{uuid.uuid4()}/{page}")
        assert answer.status_code == 404
    assert (await forkable.browser.post(f"/replays/{uuid.uuid4()}/cancel/")).status_code == 404
    assert (await forkable.browser.get(f"/replays/{uuid.uuid4()}/cancel/")).status_code == 405


async def stream(forkable: Forkable, run: Replay) -> Any:
    return await forkable.browser.get(f"/replays/{run.id}/events/")


async def test_progress_is_streamed_as_it_comes_until_the_end(forkable: Forkable) -> None:
    run = await claimed(await asked(forkable))
    answer = await stream(forkable, run)
    assert answer["Content-Type"] == "text/event-stream"
    assert answer["Cache-Control"] == "no-store"
    pieces = aiter(answer.streaming_content)
    assert await anext(pieces) == b"retry: 2000\n\n"
    assert b"running" in await anext(pieces)
    await in_database(requests.report, run, [{"type": "started", "task": "1", "node": "agent", "ns": ""}])
    assert b"<b>agent</b>" in await anext(pieces)
    await ended(run, "succeeded")
    seen = await anext(pieces)
    assert b"succeeded" in seen
    assert parse(seen.decode().replace("data: ", "")).find(".state")[0].words == "succeeded"
    assert await anext(pieces) == b"event: ended\ndata: ended\n\n"
    assert [piece async for piece in pieces] == []


async def test_a_hundred_watchers_ask_the_database_as_often_as_one(
    forkable: Forkable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from explorer.views import replay as view

    looks, render = [], view.render_to_string
    monkeypatch.setattr(view, "render_to_string", lambda *args: looks.append(1) or render(*args))
    run = await claimed(await asked(forkable))
    answers = [await stream(forkable, run) for _ in range(100)]

    async def watch(answer: Any) -> int:
        return len([piece async for piece in answer.streaming_content])

    watching = [asyncio.create_task(watch(answer)) for answer in answers]
    await asyncio.sleep(1)
    await ended(run, "succeeded")
    assert set(await asyncio.gather(*watching)) == {4}  # retry, running, succeeded, ended
    assert len(looks) < 8


async def test_who_leaves_is_not_looked_for(forkable: Forkable) -> None:
    from explorer.replays.watching import _watches

    run = await claimed(await asked(forkable))
    answer = await stream(forkable, run)

    async def watch() -> None:
        async for _ in answer.streaming_content:
            pass

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.5)
    assert len(_watches[asyncio.get_running_loop()]) == 1
    watching.cancel()
    await asyncio.wait([watching])
    assert _watches[asyncio.get_running_loop()] == {}


async def test_a_mistake_of_our_own_leaves_nobody_waiting(
    forkable: Forkable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from explorer.views import replay as view

    run = await claimed(await asked(forkable))
    monkeypatch.setattr(view, "render_to_string", lambda *_: {}["no such"])
    answer = await stream(forkable, run)
    assert [piece async for piece in answer.streaming_content] == [b"retry: 2000\n\n"]
    assert [record.name for record in caplog.records] == ["explorer.replays.watching"]
