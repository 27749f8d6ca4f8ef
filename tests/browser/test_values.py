"""Values that are shown in part at first, and what can be copied."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from browser.visitor import Visitor

BIG = "/s/shapes/threads/big/"
LONG = "/s/demo/threads/long-conversation/"


def open_newest(page: Page) -> Page:
    page.locator("a.step").first.click()
    expect(page.locator("#inspector [data-checkpoint]")).to_be_visible()
    page.wait_for_load_state("networkidle")  # the newest opens by itself, too
    return page


def big(page: Page) -> Locator:
    return page.locator("#state .channel", has_text=re.compile(r"^big\b"))


def test_a_big_text_loads_where_it_is(visitor: Visitor):
    page = open_newest(visitor.open(BIG))
    visitor.documents.clear()
    big(page).get_by_role("link", name="show all").click()
    expect(big(page).locator("pre.text")).to_have_text("x" * 100_000)
    big(page).get_by_role("link", name="100,000 more characters").click()
    expect(big(page).locator("pre.text")).to_have_count(2)
    assert visitor.documents == []


def test_without_javascript_a_big_text_has_its_own_pages(visitor: Visitor):
    page = open_newest(visitor.open(BIG, javascript=False))
    big(page).get_by_role("link", name="show all").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("big")
    page.get_by_role("link", name="100,000 more characters").click()
    expect(page.locator("pre.text")).to_have_text("x" * 100_000)
    page.get_by_role("link", name="Back to the checkpoint").click()
    expect(page).to_have_url(re.compile(f"{BIG}checkpoints/[^/]+/$"))


def test_earlier_messages_load_before_the_last_ones(visitor: Visitor):
    page = open_newest(visitor.open(LONG))
    messages = page.locator("#state .msg")
    last = messages.last.inner_text()
    expect(messages).to_have_count(20)
    page.get_by_role("link", name="earlier").click()
    expect(messages.first).to_contain_text("And what about order 2000?")
    assert messages.last.inner_text() == last


def test_earlier_messages_come_once(visitor: Visitor):
    page = open_newest(visitor.open(LONG))
    page.get_by_role("link", name="earlier").click()
    questions = page.locator("#state .msg.human .body")
    expect(questions).to_have_text([f"And what about order {2000 + number}?" for number in range(12)])


def test_without_javascript_a_conversation_has_its_own_page(visitor: Visitor):
    page = open_newest(visitor.open(LONG, javascript=False))
    page.get_by_role("link", name="earlier").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("messages")
    expect(page.locator(".msg")).to_have_count(48)


def test_a_value_is_unfolded_by_keyboard(visitor: Visitor):
    page = open_newest(visitor.open("/s/demo/threads/refund-1042/"))
    summary = page.locator("#state .tree summary:visible").first
    group = summary.locator("..")
    was_open = group.evaluate("details => details.open")
    summary.press("Enter")
    expect(group).to_have_js_property("open", not was_open)


def test_the_copy_buttons_copy_what_is_meant(visitor: Visitor):
    page = visitor.open("/s/demo/threads/refund-1043/", permissions=["clipboard-read", "clipboard-write"])
    id = page.locator("a.step").first.get_attribute("title")
    page.get_by_role("button", name="Copy the checkpoint id").click()
    expect(page.get_by_role("button", name="Copy the checkpoint id")).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == id
    page.get_by_role("button", name="Copy the thread id").click()
    page.wait_for_function("async () => await navigator.clipboard.readText() === 'refund-1043'")
    page.locator("#code .copy").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).startsWith('config = {')")


def test_without_javascript_nothing_offers_to_copy(visitor: Visitor):
    page = open_newest(visitor.open("/s/demo/threads/refund-1043/", javascript=False))
    expect(page.locator(".copy").first).to_be_attached()
    expect(page.locator(".copy:visible")).to_have_count(0)


def test_raw_json_is_shown_and_downloaded(visitor: Visitor):
    page = open_newest(visitor.open("/s/demo/threads/refund-1043/"))
    page.get_by_role("link", name="Raw", exact=True).click()
    expect(page.locator("pre.code")).to_contain_text('"refund-1043"')
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.startswith("refund-1043-")
