"""Deleting threads in a browser: found, planned, confirmed by typing, watched, and what the receipt says."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.test_look import WIDTHS, beyond_the_edge, violations
from browser.visitor import PHONE, WIDE, Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Served
    from playwright.sync_api import Browser, Page

FIND = "/s/shop/find/"
everywhere = pytest.mark.parametrize("width", [WIDE, PHONE])
with_and_without_javascript = pytest.mark.parametrize("javascript", [True, False])


@pytest.fixture
def shop(
    browser: Browser, serve: Callable[..., Served], demo_store: Path, tmp_path: Path
) -> Iterator[Visitor]:
    """Open pages of an explorer whose store may be emptied."""
    shutil.copy(demo_store, tmp_path / "shop.sqlite")
    visitor = Visitor.admitted(browser, serve(tmp_path / "shop.sqlite"))
    yield visitor
    visitor.leave()
    assert visitor.complaints == []


def planned(page: Page) -> None:
    page.get_by_label("Metadata of any checkpoint").fill("user_id=alice")
    page.get_by_role("button", name="Find", exact=True).click()
    page.get_by_role("button", name=re.compile("^Plan to delete all")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^Plan: delete"))


def confirmed(page: Page) -> None:
    field = page.get_by_label(re.compile("^Type the "))
    field.fill(page.locator(".choice.danger b.mono").inner_text())
    page.get_by_label(re.compile("^Reason")).fill("by mail")
    page.get_by_role("button", name=re.compile("^Delete ")).click()


@everywhere
@with_and_without_javascript
def test_everything_of_a_user_is_found_planned_deleted_and_receipted(
    shop: Visitor, width: int, javascript: bool
) -> None:
    page = shop.open(FIND, width=width, javascript=javascript)
    planned(page)
    confirmed(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^Deleted"), timeout=20_000)
    receipt = page.locator(".receipt")
    expect(receipt).to_contain_text("none found")
    expect(receipt).to_contain_text("by mail")
    page.goto(f"{FIND}?meta=user_id%3Dalice")
    expect(page.get_by_role("heading", name="No thread fits")).to_be_visible()


def test_it_is_done_by_keyboard_alone(shop: Visitor) -> None:
    page = shop.open("/s/shop/threads/hello-alice/")
    page.get_by_role("button", name="Delete…").focus()
    page.keyboard.press("Enter")
    field = page.get_by_label(re.compile("^Type the thread's id"))
    field.focus()
    page.keyboard.type("hello-alice")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Deleted hello-alice", timeout=20_000)


def test_what_was_typed_wrongly_is_said_where_it_was_typed(shop: Visitor) -> None:
    page = shop.open(FIND)
    planned(page)
    field = page.get_by_label(re.compile("^Type the "))
    field.fill("wrong")
    page.get_by_role("button", name=re.compile("^Delete ")).click()
    expect(
        page.get_by_text(re.compile("^That is not the number of threads: type .+ Nothing was deleted"))
    ).to_be_visible()
    expect(field).to_be_focused()
    shop.complaints[:] = [text for text in shop.complaints if "422" not in text]


def test_a_receipt_is_printed_without_buttons(shop: Visitor) -> None:
    page = shop.open(FIND)
    planned(page)
    confirmed(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^Deleted"), timeout=20_000)
    page.emulate_media(media="print")
    expect(page.locator(".receipt table.counts")).to_be_visible()
    expect(page.get_by_role("link", name="Receipt as JSON")).to_be_hidden()
    expect(page.locator("header.bar")).to_be_hidden()


def test_its_pages_fit_and_are_accessible(shop: Visitor) -> None:
    page = shop.open(f"{FIND}?every=1")
    fits(page)
    planned(page)
    fits(page)
    confirmed(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^Deleted"), timeout=20_000)
    fits(page)
    page.goto("/deletions/")
    fits(page)


def fits(page: Page) -> None:
    for width in WIDTHS:
        assert beyond_the_edge(page, width) == []
    assert violations(page) == []
