"""A store in PostgreSQL, in the browser: the same pages, the same comfort."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from browser.stores import LONG_ID
from browser.visitor import PHONE, WIDE
from explorer import addresses

if TYPE_CHECKING:
    from browser.visitor import Visitor

everywhere = pytest.mark.parametrize("width", [WIDE, PHONE])


@pytest.fixture
def slug(in_postgres: str) -> str:
    return urlsplit(in_postgres).path[1:]


@everywhere
@pytest.mark.parametrize("javascript", [True, False])
def test_links_lead_from_the_stores_to_a_checkpoint_and_its_raw_json(
    visitor: Visitor, slug: str, width: int, javascript: bool
) -> None:
    page = visitor.open("/", width=width, javascript=javascript)
    expect(page.locator("li.store", has_text=slug)).to_contain_text("PostgreSQL")
    page.get_by_role("link", name=slug).click()
    page.get_by_role("link", name="resumed").click()
    expect(page.locator("#timeline h1")).to_have_text("resumed")
    step = page.locator("a.step").nth(1)
    id = step.get_attribute("title")
    step.click()
    shown = page.locator(f'[data-checkpoint="{id}"]')
    expect(shown.locator("#state")).to_contain_text("prepared")
    shown.get_by_role("link", name="Raw", exact=True).click()
    expect(page.locator("pre").first).to_contain_text(f'"checkpoint_id": "{id}"')


def test_a_search_finds_threads_by_metadata(visitor: Visitor, slug: str) -> None:
    page = visitor.open(addresses.threads(slug))
    page.get_by_role("searchbox").fill("user_id=ana")
    page.get_by_role("searchbox").press("Enter")
    expect(page).to_have_url(re.compile("user_id"))
    expect(page.locator("td.id a").first).to_be_visible()
    assert "forked" in page.locator("td.id a").all_text_contents()
    assert "nested" not in page.locator("td.id a").all_text_contents()


@everywhere
@pytest.mark.parametrize("thread", ["big", "nested", "failing", LONG_ID])
def test_no_page_is_wider_than_its_window(visitor: Visitor, slug: str, thread: str, width: int) -> None:
    page = visitor.open(addresses.timeline(slug, thread, density="everything"), width=width)
    page.locator("a.step").first.click()
    expect(page.locator("#inspector [data-checkpoint]")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
