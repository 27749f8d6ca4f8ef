"""Nothing that is stored becomes markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from graphs import AWKWARD
from playwright.sync_api import expect

from browser.stores import IMAGE, REQUEST
from explorer import addresses

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.visitor import Visitor

MARKED_UP = f"{IMAGE}{REQUEST}"
INJECTED = "main :is(script, img, b.injected, .injected, [onerror], [style], [hx-trigger], iframe, object)"
THREADS = {
    "id": ("shapes", AWKWARD),
    "everything": ("shapes", MARKED_UP),
    "error": ("shapes", "failing"),
    "words": ("demo", "acme/eu/ticket 77?#x"),
}
SEARCHES = ["", f"id:{IMAGE}", f'"><script>alert(1)</script>{REQUEST}', "user_id=<img src=x>"]
every_thread = pytest.mark.parametrize(("store", "thread"), THREADS.values(), ids=THREADS)


def expect_no_injected_element(page: Page) -> None:
    expect(page.locator("main")).to_be_visible()
    expect(page.locator(INJECTED)).to_have_count(0)


@pytest.mark.parametrize("q", SEARCHES)
def test_threads_show_it_literally(visitor: Visitor, q: str):
    page = visitor.open(addresses.threads("shapes", q=q))
    expect_no_injected_element(page)
    expect(page.get_by_role("searchbox")).to_have_value(q)
    assert not q.startswith("id:") or page.locator(".threads .id a").all_inner_texts() == [MARKED_UP]


@every_thread
def test_timelines_show_it_literally(visitor: Visitor, store: str, thread: str):
    page = visitor.open(addresses.timeline(store, thread, density="everything"))
    expect_no_injected_element(page)
    expect(page.locator("#timeline h1")).to_have_text(thread)


@every_thread
def test_checkpoints_show_it_literally(visitor: Visitor, store: str, thread: str):
    page = visitor.open(addresses.timeline(store, thread))
    for href in [step.get_attribute("href") for step in page.locator("a.step").all()]:
        page.goto(href)
        expect(page.locator("#inspector [data-checkpoint]")).to_be_visible()
        expect_no_injected_element(page)


def test_raw_json_shows_it_literally(visitor: Visitor):
    page = visitor.open(addresses.timeline("shapes", MARKED_UP))
    page.get_by_role("link", name="Raw", exact=True).click()
    expect(page.locator("pre.code")).to_contain_text(IMAGE)
    expect_no_injected_element(page)


def test_channels_metadata_nodes_and_values_are_shown_as_they_are(visitor: Visitor):
    page = visitor.open(addresses.timeline("shapes", MARKED_UP))
    expect(page.locator("#state h3").first).to_contain_text(IMAGE)
    expect(page.locator("#state .v-text").first).to_contain_text(REQUEST)
    expect(page.locator("#inspector dl.facts dt", has_text=IMAGE)).to_be_visible()
    expect(page.locator("#versions")).to_contain_text(f"node {IMAGE}")
    expect(page.locator("#code pre")).to_contain_text(IMAGE)


def test_messages_are_words(visitor: Visitor):
    page = visitor.open(addresses.timeline("demo", "acme/eu/ticket 77?#x"))
    expect(page.locator("#state .msg.human .body")).to_have_text(
        '<script>alert("hi")</script><img src=x onerror=alert(1)> does not work'
    )
    expect(page.locator("#state .msg.ai .body")).to_contain_text("<b>bold</b> words & an")


def test_injected_markup_would_be_noticed(visitor: Visitor):
    page = visitor.open("/help/")
    page.locator("main").evaluate(f"main => main.innerHTML += {IMAGE!r}")
    expect(page.locator(INJECTED)).to_have_count(1)
    expect(page.locator("html")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert any(complaint.startswith("console: policy: script-src") for complaint in visitor.complaints)
    visitor.complaints.clear()
