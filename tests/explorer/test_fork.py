"""The page on which a checkpoint is forked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from django.test import AsyncClient
from graphs import config
from pages import Element, load, parse

from checkpoints.stores.siblings import AUTHOR, REASON

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkable import Forkable
    from pytest_django.fixtures import SettingsWrapper

IN_PLACE, THREAD = "in-place", "thread"


def form(page: Element, kind: str) -> Element:
    return next(form for form in page.find("form[method=post]") if form.find(f"input[value={kind}]"))


def facts(page: Element, number: int) -> dict[str, str]:
    """Return what one of the two sections says, by its term."""
    listed = page.find("section.choice")[number].one("dl.facts")
    return {term.words: text.words for term, text in zip(listed.find("dt"), listed.find("dd"), strict=True)}


async def test_the_page_says_what_will_be_written_and_what_follows(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    page = await load(forkable.browser, forkable.url("asking", head, "fork/"))
    here, there = facts(page, 0), facts(page, 1)
    assert here["writes"].startswith("1 checkpoint, ")
    assert here["writes"].endswith("in the root namespace; nothing else changes")
    assert here["next invoke"] == "runs ask derived"
    assert here["asked again"] == '{question: "Approve the refund?", amount: 240}'
    assert there["writes"].startswith("3 checkpoints, ")
    assert "pending writes" in there["writes"]
    assert there["next invoke"] == "runs ask derived"
    assert there["still asked"] == here["asked again"]
    assert page.find("section.choice")[0].one("h2").words == "Fork in place"


async def test_an_older_checkpoint_is_promoted_in_those_words(forkable: Forkable) -> None:
    id = forkable.ids("joining")[2]
    page = await load(forkable.browser, forkable.url("joining", id, "fork/"))
    section = page.find("section.choice")[0]
    assert section.one("h2").words == section.one("button").words == "Continue from here"
    assert facts(page, 0)["next invoke"] == "runs b1, b2 derived"
    assert facts(page, 0)["runs again"].startswith("b1, b2")
    assert facts(page, 1)["next invoke"] == "goes on with the step after this one derived"
    assert facts(page, 1)["not again"].startswith("b1, b2")
    inspector = await load(forkable.browser, forkable.url("joining", id))
    assert "Continue from here…" in [link.words for link in inspector.find(".actions a")]


async def test_a_fork_in_place_becomes_the_head_and_leads_to_its_page(forkable: Forkable) -> None:
    id = forkable.ids("joining")[2]
    url = forkable.url("joining", id, "fork/")
    page = await load(forkable.browser, url)
    answer = await forkable.post(url, form(page, IN_PLACE), reason="wrong <b>order</b>", author="ana")
    assert answer.status_code == 303
    head = forkable.head("joining")
    assert head.metadata["source"] == "fork"
    assert (head.metadata[REASON], head.metadata[AUTHOR]) == ("wrong <b>order</b>", "ana")
    assert urlsplit(answer["Location"]).path == forkable.url("joining", head.checkpoint["id"])
    shown = await load(forkable.browser, answer["Location"])
    assert "the next invoke continues from here" in shown.one("[role=status]").words
    assert "“wrong <b>order</b>” · ana" in shown.one("article dl.facts").words
    assert shown.one("article .head-mark").words == "head"
    assert forkable.graphs["joining"].invoke(None, config("joining"))["log"] == ["a", "b1", "b2", "join"]


async def test_the_head_of_before_is_one_step_away_after_a_fork(forkable: Forkable) -> None:
    head, _, id, *_ = forkable.ids("joining")
    url = forkable.url("joining", id, "fork/")
    answer = await forkable.post(url, form(await load(forkable.browser, url), IN_PLACE))
    notice = (await load(forkable.browser, answer["Location"])).one("[role=status]")
    back = notice.one("a")["href"]
    assert back == forkable.url("joining", head, "fork/")
    assert (await forkable.post(back, form(await load(forkable.browser, back), IN_PLACE))).status_code == 303
    assert forkable.head("joining").checkpoint["channel_values"]["log"] == ["a", "b1", "b2", "join"]


async def test_what_was_done_is_said_only_where_it_is_so(forkable: Forkable) -> None:
    [head, *_, oldest] = forkable.ids("joining")
    for id, done in ((oldest, "edit"), (head, "in-place"), (head, "edit")):
        url = forkable.url("joining", id, done=done, origin="evil", former=oldest)
        assert (await load(forkable.browser, url)).find("[role=status]") == []
    url = forkable.url("joining", oldest, "fork/")
    made = await forkable.post(url, form(await load(forkable.browser, url), IN_PLACE))
    assert (await load(forkable.browser, made["Location"])).find("[role=status]")
    assert (await forkable.post(url, form(await load(forkable.browser, url), IN_PLACE))).status_code == 303
    assert (await load(forkable.browser, made["Location"])).find("[role=status]") == []


async def test_a_fork_names_what_it_copies_and_leads_to_the_comparison(forkable: Forkable) -> None:
    id = forkable.ids("joining")[2]
    url = forkable.url("joining", id, "fork/")
    answer = await forkable.post(url, form(await load(forkable.browser, url), IN_PLACE))
    copies = (await load(forkable.browser, answer["Location"])).find("article dl.facts a")[1:]
    assert [link.words for link in copies] == ["step 1", "compare with it"]
    assert copies[0]["href"] == forkable.url("joining", id)
    compared = await load(forkable.browser, copies[1]["href"])
    assert "both have the same parent" in compared.one(".form-head").words
    assert compared.one("section[aria-labelledby=state]").find(".diff") == []


async def test_what_has_finished_is_not_said_to_be_still_to_run(forkable: Forkable) -> None:
    id = forkable.ids("joining")[2]
    url = forkable.url("joining", id, "fork/")
    answer = await forkable.post(url, form(await load(forkable.browser, url), THREAD), target="new")
    card = (await load(forkable.browser, answer["Location"])).one("section.pending")
    assert "has run" in card.words
    assert "to run" not in card.words
    answer = await forkable.post(url, form(await load(forkable.browser, url), IN_PLACE))
    assert "to run" in (await load(forkable.browser, answer["Location"])).one("section.pending").words


async def test_a_long_thread_is_measured_only_when_asked(
    forkable: Forkable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.views.fork.MEASURED", 2)
    [head, *_] = forkable.ids("asking")
    url = forkable.url("asking", head, "fork/")
    page = await load(forkable.browser, url)
    assert facts(page, 1)["writes"] == "The thread is long: measure what leads here"
    measured = await load(forkable.browser, page.find("section.choice")[1].one("dl a")["href"])
    assert facts(measured, 1)["writes"].startswith("3 checkpoints, ")
    assert (await forkable.post(url, form(page, THREAD), target="new")).status_code == 303
    assert forkable.ids("new") == forkable.ids("asking")


async def test_a_target_whose_address_is_too_long_is_refused_before_anything_is_written(
    forkable: Forkable,
) -> None:
    [head, *_] = forkable.ids("asking")
    url, before = forkable.url("asking", head, "fork/"), forkable.rows()
    page = await load(forkable.browser, url)
    answer = await forkable.post(url, form(page, THREAD), target="ä" * 1_000)
    assert (answer.status_code, forkable.rows()) == (422, before)
    assert b"too long for the address" in answer.content


async def test_a_fork_into_a_new_thread_leads_to_it(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    url = forkable.url("asking", head, "fork/")
    page = await load(forkable.browser, url)
    assert form(page, THREAD).one("input[name=target]")["value"] == "asking-from-step-1"
    answer = await forkable.post(url, form(page, THREAD), target="new/one ?")
    assert answer.status_code == 303
    assert forkable.head("new/one ?").checkpoint["id"] == head
    shown = await load(forkable.browser, answer["Location"])
    notice = shown.one("[role=status]")
    assert "an exact copy of all that led to this step. It came from asking" in notice.words
    assert notice.one("a")["href"] == forkable.url("asking", head)
    state = forkable.graphs["asking"].get_state(config("new/one ?"))
    assert state.interrupts == forkable.graphs["asking"].get_state(config("asking")).interrupts


async def test_a_taken_or_missing_id_is_said_beside_the_field_and_nothing_is_lost(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    url, before = forkable.url("asking", head, "fork/"), forkable.rows()
    page = await load(forkable.browser, url)
    for target, told in (("chat", "There is a thread 'chat' already."), ("", "Give the new thread an id.")):
        answer = await forkable.post(url, form(page, THREAD), target=target)
        assert answer.status_code == 422
        again = form(parse(answer.content.decode()), THREAD)
        assert told in again.one(".wrong").words
        assert again.one("input[name=target]")["value"] == target
        assert again.one("input[name=target]")["aria-invalid"] == "true"
    assert forkable.rows() == before


async def test_a_subgraph_s_checkpoint_is_forked_in_its_namespace(forkable: Forkable) -> None:
    namespaces = [at.config["configurable"]["checkpoint_ns"] for at in forkable.saver.list(config("nested"))]
    ns = min(filter(None, namespaces), key=len)
    [head, *_] = forkable.ids("nested", ns)
    url = forkable.url("nested", head, "fork/", ns=ns)
    page = await load(forkable.browser, url)
    assert ns in facts(page, 0)["writes"]
    answer = await forkable.post(url, form(page, IN_PLACE))
    assert answer.status_code == 303
    assert forkable.ids("nested", ns)[1:] == [head, *forkable.ids("nested", ns)[2:]]
    assert (await load(forkable.browser, answer["Location"])).one("article .head-mark")


async def test_a_checkpoint_that_changed_since_is_not_forked(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    url = forkable.url("asking", head, "fork/")
    page = await load(forkable.browser, url)
    at = forkable.saver.get_tuple(config("asking"))
    forkable.saver.put(at.parent_config, at.checkpoint, {**at.metadata, "changed": True}, {})
    before = forkable.rows()
    answer = await forkable.post(url, form(page, IN_PLACE))
    assert (answer.status_code, forkable.rows()) == (409, before)
    assert b"has changed since this form was made" in answer.content
    at.config["configurable"]["checkpoint_id"] = "gone"
    assert (await forkable.browser.get(forkable.url("asking", "gone", "fork/"))).status_code == 404


async def test_a_head_that_was_just_stored_is_warned_of(
    forkable: Forkable, monkeypatch: pytest.MonkeyPatch
) -> None:
    [head, *_] = forkable.ids("asking")
    page = await load(forkable.browser, forkable.url("asking", head, "fork/"))
    assert "If an agent is at work on it" in page.one("p.notice").words
    monkeypatch.setattr("explorer.forks.BUSY_SECONDS", -1)
    assert (await load(forkable.browser, forkable.url("asking", head, "fork/"))).find("p.notice") == []


async def test_a_read_only_explorer_offers_no_button_and_refuses_the_form(
    forkable: Forkable, settings: SettingsWrapper
) -> None:
    [head, *_] = forkable.ids("asking")
    url, before = forkable.url("asking", head, "fork/"), forkable.rows()
    page = await load(forkable.browser, url)
    settings.EXPLORER_READ_ONLY = True
    refused = await load(forkable.browser, url)
    assert refused.find("form[method=post]") == []
    assert "started with --read-only" in refused.one("p.notice").words
    inspector = await load(forkable.browser, forkable.url("asking", head))
    assert [link.words for link in inspector.find(".actions a")] == ["Compare…"]
    assert inspector.find("a.edit-link") == []
    for kind in (IN_PLACE, THREAD):
        answer = await forkable.post(url, form(page, kind), target="new")
        assert answer.status_code == 403
        assert b"started with --read-only" in answer.content
    assert forkable.rows() == before


async def test_a_store_that_cannot_be_written_says_why(
    forkable: Forkable, monkeypatch: pytest.MonkeyPatch, at: Callable[..., AsyncClient]
) -> None:
    [head, *_] = forkable.ids("asking")
    url, told = forkable.url("asking", head, "fork/"), "are read-only"
    browser = forkable.browser
    if str(forkable.place).startswith("postgresql"):
        browser = at(f"{forkable.place}&options=-cdefault_transaction_read_only%3Don")
    else:
        told = "This user may not write to"
        monkeypatch.setattr("os.access", lambda *_: False)
    page = await load(browser, url)
    assert told in page.one("p.notice").words
    assert page.find("form[method=post]") == []
    answer = await browser.post(url, {"kind": IN_PLACE, "basis": "x"})
    assert answer.status_code == 403


async def test_a_form_without_its_token_is_refused(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    browser, before = AsyncClient(enforce_csrf_checks=True), forkable.rows()
    browser.cookies = forkable.browser.cookies
    answer = await browser.post(forkable.url("asking", head, "fork/"), {"kind": IN_PLACE})
    assert (answer.status_code, forkable.rows()) == (403, before)


async def test_a_trigger_that_swallows_the_row_is_said(own: Path, at: Callable[..., AsyncClient]) -> None:
    browser = at(own)
    with closing(sqlite3.connect(own)) as db, db:
        db.execute("CREATE TRIGGER no BEFORE INSERT ON checkpoints BEGIN SELECT RAISE(IGNORE); END")
    [step, *_] = (await load(browser, "/s/own/threads/asking/")).find("a.step")
    url = step["href"].partition("?")[0] + "fork/"
    inputs = form(await load(browser, url), IN_PLACE).find("input")
    answer = await browser.post(url, {each["name"]: each.attributes.get("value", "") for each in inputs})
    assert answer.status_code == 403
    assert b"took no row" in answer.content


async def test_looking_at_the_page_writes_nothing(own: Path, at: Callable[..., AsyncClient]) -> None:
    before = {path.name: path.read_bytes() for path in own.parent.iterdir()}
    browser = at(own)
    timeline = await load(browser, "/s/own/threads/asking/")
    for step in timeline.find("a.step"):
        base = step["href"].partition("?")[0]
        for page in ("", "fork/", "edit/"):
            assert (await browser.get(base + page)).status_code == 200
        assert (await browser.get(f"/s/own/compare/?thread=asking&id={step['title']}")).status_code == 200
    edit = f"{timeline.find('a.step')[0]['href'].partition('?')[0]}edit/?channel=log"
    assert (await load(browser, edit)).find("textarea")
    assert {path.name: path.read_bytes() for path in own.parent.iterdir()} == before


@pytest.mark.parametrize("kind", ["", "other"])
async def test_a_form_of_another_kind_is_refused(kind: str, forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    before = forkable.rows()
    answer = await forkable.browser.post(forkable.url("asking", head, "fork/"), {"kind": kind, "target": "x"})
    assert (answer.status_code, forkable.rows()) == (422, before)
