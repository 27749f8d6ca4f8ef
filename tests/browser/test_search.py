"""What the search box finds, and what it says when it finds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.visitor import Visitor

with_and_without_javascript = pytest.mark.parametrize("javascript", [True, False])


def search(page: Page, text: str) -> list[str]:
    """Search for a text and return the ids of the threads that are shown."""
    page.get_by_role("searchbox").fill(text)
    page.get_by_role("searchbox").press("Enter")
    page.wait_for_url("**/threads/?q=*")
    return page.locator(".threads .id a").all_inner_texts()


@with_and_without_javascript
def test_threads_are_found_by_a_part_of_their_id(visitor: Visitor, javascript: bool):
    page = visitor.open("/s/demo/threads/", javascript=javascript)
    found = search(page, "fund-10")
    assert len(found) == 7
    assert all(id.startswith("refund-10") for id in found)
    expect(page.get_by_role("searchbox")).to_have_value("fund-10")


@with_and_without_javascript
def test_threads_are_found_by_their_metadata(visitor: Visitor, javascript: bool):
    page = visitor.open("/s/demo/threads/", javascript=javascript)
    assert sorted(search(page, "user_id=alice")) == ["hello-alice", "refund-1042", "refund-1046"]
    assert search(page, "user_id=alice 1046") == ["refund-1046"]


def test_a_search_starts_beside_a_timeline_too(visitor: Visitor):
    page = visitor.open("/s/demo/threads/refund-1043/")
    assert search(page, "東京") == ["東京-サポート"]


def test_a_search_without_result_says_what_can_be_searched(visitor: Visitor):
    page = visitor.open("/s/demo/threads/")
    assert search(page, "nobody<b>") == []
    expect(page.get_by_role("heading", name="No thread matches")).to_be_visible()
    expect(page.locator("main")).to_contain_text("whose id contains “nobody<b>”")
    page.get_by_role("link", name="show all").click()
    expect(page.locator(".threads .id a").first).to_be_visible()


@with_and_without_javascript
def test_a_long_result_goes_on_in_the_same_search(visitor: Visitor, javascript: bool):
    page = visitor.open("/s/crowd/threads/", javascript=javascript)
    assert len(search(page, "visitor")) == 50
    page.get_by_role("link", name="Older threads").click()
    expect(page.locator(".threads .id a")).to_have_count(10)
    expect(page.get_by_role("searchbox")).to_have_value("visitor")
