"""Everything with the keyboard alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from browser.visitor import PHONE

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.visitor import Visitor

THREADS = "/s/demo/threads/"
FOCUS = """() => {
    const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
    return {name: at.getAttribute("aria-label") ?? at.textContent.trim(), top: box.top,
            seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && box.width > 0};
}"""


def tab(page: Page, times: int) -> list[dict[str, object]]:
    """Press Tab and return what had the focus each time."""
    stops = []
    for _ in range(times):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUS))
    return stops


def test_slash_searches_and_enter_finds(visitor: Visitor):
    page = visitor.open(THREADS)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("refund-1043")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"\?q=refund-1043$"))
    expect(page.locator(".threads .id a")).to_have_text("refund-1043")


def test_escape_leaves_the_search(visitor: Visitor):
    page = visitor.open(THREADS)
    page.keyboard.press("/")
    page.keyboard.type("j/?")
    expect(page.get_by_role("searchbox")).to_have_value("j/?")
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).not_to_be_focused()
    expect(page).to_have_url(re.compile(f"{THREADS}$"))


def test_j_and_k_move_and_enter_opens_a_thread(visitor: Visitor):
    page = visitor.open(THREADS)
    for key in "jjjk":
        page.keyboard.press(key)
    second = page.locator(".threads .id a").nth(1)
    expect(second).to_be_focused()
    id = second.inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("#timeline h1")).to_have_text(id)


def test_j_and_k_move_and_enter_opens_a_step(visitor: Visitor):
    page = visitor.open(f"{THREADS}refund-1043/")
    for key in "jjk":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.locator("a.step[aria-current=true]")).to_have_text(re.compile("^3"))
    expect(page.locator("#inspector h1")).to_have_text(re.compile("Step 3"))
    expect(page.locator("a.step[aria-current=true]")).to_be_focused()


def test_k_stays_at_the_first_row_and_j_at_the_last(visitor: Visitor):
    page = visitor.open(f"{THREADS}hello-alice/", width=PHONE)
    page.keyboard.press("k")
    expect(page.locator("a.step").first).to_be_focused()
    for _ in range(9):
        page.keyboard.press("j")
    expect(page.locator("a.step").last).to_be_focused()


def test_a_question_mark_helps(visitor: Visitor):
    page = visitor.open(THREADS)
    page.keyboard.press("?")
    expect(page.get_by_role("heading", level=1)).to_have_text("Help")


def test_keys_with_ctrl_are_the_browsers(visitor: Visitor):
    page = visitor.open(THREADS)
    page.keyboard.press("Control+j")
    page.keyboard.press("Control+/")
    assert page.evaluate("document.activeElement.tagName") == "BODY"


def test_tab_goes_through_the_page_from_top_to_bottom(visitor: Visitor):
    page = visitor.open(THREADS)
    names = [stop["name"] for stop in tab(page, 11)]
    first = page.locator(".threads .id a").first.inner_text()
    assert names == [
        "Skip to the content",
        "Checkpoint Explorer: the stores",
        "demo",
        "Search threads by id or metadata",
        "Replays",
        "Deletions",
        "Audit",
        "Help and keys",
        "where the bytes go",
        "find and delete",
        first,
    ]


def test_the_focus_can_be_seen_everywhere(visitor: Visitor):
    page = visitor.open(f"{THREADS}refund-1043/")
    unseen = [stop["name"] for stop in tab(page, 30) if not stop["seen"]]
    assert unseen == []


def test_the_focus_is_not_hidden_under_the_bar(visitor: Visitor):
    page = visitor.open(f"{THREADS}long-conversation/", width=PHONE)
    page.locator("a.step").last.focus()
    page.keyboard.press("Shift+Tab")
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(FOCUS)["top"] >= page.locator(".bar").bounding_box()["height"]


def test_the_first_link_skips_to_the_content(visitor: Visitor):
    page = visitor.open(THREADS)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("main :focus")).to_have_count(1)
