"""From the threads to a checkpoint and back."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect

from browser.visitor import PHONE, WIDE

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

    from browser.visitor import Visitor

THREADS = "/s/demo/threads/"
THREAD = f"{THREADS}refund-1043/"
SHOWN = "#inspector [data-checkpoint]"
everywhere = pytest.mark.parametrize("width", [WIDE, PHONE])
with_and_without_javascript = pytest.mark.parametrize("javascript", [True, False])


def select(page: Page, nth: int) -> str:
    """Click a step, wait for its checkpoint and return its id."""
    step = page.locator("a.step").nth(nth)
    id = step.get_attribute("title") or ""
    step.click()
    expect(page.locator(f'#inspector [data-checkpoint="{id}"]')).to_be_visible()
    return id


@everywhere
@with_and_without_javascript
def test_links_lead_from_the_threads_to_a_checkpoint_and_back(visitor: Visitor, width: int, javascript: bool):
    page = visitor.open("/", width=width, javascript=javascript)
    page.get_by_role("link", name="demo").click()
    page.get_by_role("link", name="refund-1043").click()
    expect(page.locator("#timeline h1")).to_have_text("refund-1043")
    id = select(page, 2)
    expect(page).to_have_url(re.compile(f"{THREAD}checkpoints/{id}/"))
    if width == PHONE:
        page.get_by_role("link", name="← Timeline").click()
    expect(page.locator("a.step").first).to_be_visible()
    page.get_by_role("link", name="demo", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Threads")


@everywhere
@with_and_without_javascript
def test_the_browser_goes_back_and_forward(visitor: Visitor, width: int, javascript: bool):
    page = visitor.open(THREAD, width=width, javascript=javascript)
    titled = page.title()
    id = select(page, 3)
    checkpoint = page.title()
    page.go_back()
    expect(page).to_have_url(re.compile(f"{THREAD}$"))
    expect(page).to_have_title(titled)
    expect(page.locator("a.step").first).to_be_visible()
    page.go_forward()
    expect(page).to_have_title(checkpoint)
    expect(page.locator(f'#inspector [data-checkpoint="{id}"]')).to_be_visible()


def test_selecting_a_step_swaps_the_inspector_alone(visitor: Visitor):
    page = visitor.open("/s/demo/threads/long-conversation/")
    timeline = page.locator("#timeline")
    timeline.evaluate("pane => { pane.kept = true; pane.scrollTop = 400 }")
    visitor.documents.clear()
    id = select(page, 9)
    assert timeline.evaluate("pane => [pane.kept, pane.scrollTop]") == [True, 400]
    assert visitor.documents == []
    expect(page).to_have_title(re.compile("^Step .* · long-conversation · demo$"))
    expect(page.locator("a.step[aria-current=true]")).to_have_attribute("title", id)


def test_a_wide_timeline_shows_the_newest_checkpoint(visitor: Visitor):
    page = visitor.open(THREAD)
    newest = page.locator("a.step").first
    expect(newest).to_have_attribute("aria-current", "true")
    assert page.locator(SHOWN).get_attribute("data-checkpoint") == newest.get_attribute("title")


def test_a_new_checkpoint_is_shown_from_its_top(visitor: Visitor):
    page = visitor.open(THREAD)
    page.locator("#inspector").evaluate("pane => { pane.scrollTop = 300 }")
    select(page, 1)
    expect(page.locator("#inspector")).to_have_js_property("scrollTop", 0)


@everywhere
@with_and_without_javascript
def test_the_address_of_a_checkpoint_shows_the_same_again(visitor: Visitor, width: int, javascript: bool):
    page = visitor.open(THREAD, width=width, javascript=javascript)
    select(page, 2)
    shown, titled = page.locator(SHOWN).inner_text(), page.title()
    page.reload()
    assert (page.locator(SHOWN).inner_text(), page.title()) == (shown, titled)


@with_and_without_javascript
def test_on_a_phone_a_checkpoint_is_a_page_of_its_own(visitor: Visitor, javascript: bool):
    page = visitor.open(THREAD, width=PHONE, javascript=javascript)
    expect(page.locator("#inspector")).to_be_hidden()
    page.evaluate("scrollTo(0, 300)")
    select(page, 4)
    expect(page.locator("#timeline")).to_be_hidden()
    assert page.evaluate("scrollY") == 0
    expect(page.get_by_role("link", name="← Timeline")).to_be_in_viewport()


def test_the_parent_of_a_checkpoint_opens_beside_the_timeline(visitor: Visitor):
    page = visitor.open(THREAD)
    page.locator("#inspector dl.facts a").first.click()
    expect(page.locator("a.step").nth(1)).to_have_attribute("aria-current", "true")
    page.locator("#inspector dl.facts a").first.click()
    expect(page.locator("a.step").nth(2)).to_have_attribute("aria-current", "true")


@with_and_without_javascript
def test_a_subgraph_is_reached_through_its_namespace(visitor: Visitor, javascript: bool):
    page = visitor.open("/s/shapes/threads/nested/", javascript=javascript)
    page.locator(".namespaces a", has_text="inner").click()
    expect(page).to_have_url(re.compile("ns=middle"))
    expect(page.locator(".namespaces a[aria-current]")).to_contain_text("inner")
    select(page, 0)
    expect(page).to_have_url(re.compile("checkpoints/.*ns=middle"))


@with_and_without_javascript
def test_a_density_is_kept_while_steps_are_selected(visitor: Visitor, javascript: bool):
    page = visitor.open(THREAD, javascript=javascript)
    page.get_by_role("link", name="everything").click()
    expect(page.locator("ol.everything")).to_be_visible()
    select(page, 1)
    page.reload()
    expect(page.locator("ol.everything")).to_be_visible()


@pytest.mark.parametrize("held", [0, 2], ids=["the newest opens late", "a step opens late"])
def test_the_inspector_shows_what_was_selected_last(visitor: Visitor, held: int):
    """Whatever answers first: the newest opens by itself when the page does."""
    page = visitor.open("/help/")
    page.goto(THREADS)
    late: list[Route] = []
    first = 2 if held else 1
    page.route(
        "**/checkpoints/**", lambda route: late.append(route) if len(late) < first else route.continue_()
    )
    steps = page.locator("a.step")
    page.goto(THREAD)  # the newest is asked for by itself
    if held:
        expect(steps.nth(held)).to_be_visible()
        page.wait_for_timeout(200)
        steps.nth(held).click()
    page.wait_for_timeout(200)
    assert len(late) == first
    id = select(page, 1)
    for route in late:
        with suppress(PlaywrightError):  # nobody waits for it any more
            route.continue_()
    page.wait_for_timeout(500)
    expect(page.locator(SHOWN)).to_have_attribute("data-checkpoint", id)


@with_and_without_javascript
def test_pages_of_threads_and_checkpoints_lead_on(visitor: Visitor, javascript: bool):
    page = visitor.open("/s/crowd/threads/", javascript=javascript)
    first = page.locator(".threads .id a").all_inner_texts()
    page.get_by_role("link", name="Older threads").click()
    expect(page.locator(".threads .id a").first).to_have_text("visitor-9")
    assert len(first) == 50
    assert not {*first} & {*page.locator(".threads .id a").all_inner_texts()}
    page.goto("/s/demo/threads/long-conversation/")
    page.get_by_role("link", name="Older checkpoints").click()
    expect(page.get_by_role("link", name="Newest checkpoints")).to_be_visible()
    expect(page.locator("a.step .n").last).to_have_text("−1")


def test_a_missing_thread_says_what_to_do(visitor: Visitor):
    page = visitor.open("/s/demo/threads/nobody/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("deleted")
    page.get_by_role("link", name="The stores", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Stores")
    assert ["404" in complaint for complaint in visitor.complaints] == [True]
    visitor.complaints.clear()
