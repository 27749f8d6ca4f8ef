"""Forking, editing and comparing in the browser, with JavaScript and without, and with the keyboard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from browser.test_look import OPTIONS
from browser.visitor import PHONE, WIDE

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.visitor import Visitor

THREADS = "/s/forkable/threads/"
with_and_without_javascript = pytest.mark.parametrize("javascript", [True, False])
everywhere = pytest.mark.parametrize("width", [WIDE, PHONE])
every_scheme = pytest.mark.parametrize("scheme", ["light", "dark"])


def inspected(visitor: Visitor, thread: str, nth: int, **window: object) -> Page:
    """Open a checkpoint of a thread."""
    page = visitor.open(f"{THREADS}{thread}/", **window)  # type: ignore[arg-type]
    page.locator("a.step").nth(nth).click()
    page.wait_for_url("**/checkpoints/**")
    page.locator("#inspector [data-checkpoint]").wait_for()
    return page


def steps(page: Page) -> list[str]:
    return [text.strip() for text in page.locator("a.step .n").all_inner_texts()]


@with_and_without_javascript
def test_an_older_checkpoint_becomes_the_one_to_continue_from(visitor: Visitor, javascript: bool):
    page = inspected(visitor, f"promoted-{javascript}", 1, javascript=javascript)
    page.get_by_role("link", name="Continue from here…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Fork step 0 · __start__")
    page.get_by_label("Reason").first.fill("start over")
    page.get_by_role("button", name="Continue from here").click()
    expect(page.get_by_role("status")).to_contain_text("the next invoke continues from here")
    assert steps(page) == ["1", "1", "0", "−1"]
    expect(page.locator("a.step").first).to_contain_text("“start over”")
    expect(page.locator("a.step").first.locator(".head-mark")).to_have_text("head")


@with_and_without_javascript
def test_a_checkpoint_is_forked_into_a_thread_of_its_own(visitor: Visitor, javascript: bool):
    page = inspected(visitor, f"copied-{javascript}", 0, javascript=javascript)
    page.get_by_role("link", name="Fork…", exact=True).click()
    target = page.get_by_label("Id of the new thread")
    target.fill(f"chat-{javascript}")
    page.get_by_role("button", name="Create the new thread").click()
    expect(page.locator(".wrong")).to_contain_text("already")
    expect(target).to_have_value(f"chat-{javascript}")
    assert [line for line in visitor.complaints if "422" in line] == visitor.complaints
    visitor.complaints.clear()  # the browser tells of the status
    target.fill(f"new {javascript}")
    page.get_by_role("button", name="Create the new thread").click()
    expect(page.get_by_role("status")).to_contain_text("It came from copied-")
    expect(page.locator("#timeline h1")).to_have_text(f"new {javascript}")
    expect(page.locator(".pending")).to_contain_text("Approve the refund?")


@with_and_without_javascript
def test_a_value_is_edited_looked_over_and_forked(visitor: Visitor, javascript: bool):
    page = inspected(visitor, f"edited-{javascript}", 0, javascript=javascript)
    page.get_by_role("link", name="Edit log and fork").click()
    text = page.get_by_label("log", exact=True)
    expect(text).to_have_value('[\n  "prepared"\n]')
    text.fill('["prepared", oops]')
    page.get_by_role("button", name="Review the changes").click()
    expect(page.locator(".wrong")).to_have_text(re.compile("^line 1, column 14: "))
    visitor.complaints.clear()
    page.get_by_label("log", exact=True).fill('["prepared", "by hand"]')
    page.get_by_role("button", name="Review the changes").click()
    expect(page.locator(".diff")).to_have_text(re.compile(r'\+\s*\[1\] "by hand"'))
    page.get_by_role("button", name="Fork with these values").click()
    expect(page.get_by_role("status")).to_contain_text("Forked with your values")
    expect(page.locator("#changes")).to_contain_text('"by hand"')
    expect(page.locator("a.step").first).to_contain_text("edits step 1")


@with_and_without_javascript
def test_two_checkpoints_are_compared(visitor: Visitor, javascript: bool):
    page = inspected(visitor, f"compared-{javascript}", 0, javascript=javascript)
    page.get_by_role("link", name="Compare…").click()
    page.locator("a.candidate").nth(1).click()
    expect(page.locator(".form-head")).to_contain_text("2 steps after the first")
    address = page.url
    page.get_by_role("link", name="Swap the two").click()
    expect(page.locator(".form-head")).to_contain_text("2 steps before the first")
    page.get_by_role("link", name="Compare the first with another").click()
    page.get_by_label("Thread", exact=True).fill(f"chat-{javascript}")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".side-card").nth(1)).to_contain_text(f"chat-{javascript}")
    page.goto(address)
    expect(page.locator(".side-card")).to_have_count(2)


@with_and_without_javascript
def test_a_branch_is_followed(visitor: Visitor, javascript: bool):
    page = visitor.open(f"{THREADS}branches/", javascript=javascript)
    page.locator("details.branches summary").click()
    expect(page.locator("details.branches li")).to_have_count(3)
    before = page.locator("a.step").count()
    page.locator("details.branches a").last.click()
    expect(page.locator(".followed")).to_be_visible()
    assert page.locator("a.step").count() < before
    page.get_by_role("link", name="show all").click()
    expect(page.locator("a.step")).to_have_count(before)


def test_the_lanes_have_no_gaps(visitor: Visitor):
    page = visitor.open(f"{THREADS}branches/?density=everything")
    gaps = page.evaluate(
        """() => {
            const rows = [...document.querySelectorAll("a.step")];
            return rows.slice(1).map((row, index) => {
                const above = rows[index].querySelector(".lane").getBoundingClientRect();
                return row.querySelector(".lane").getBoundingClientRect().top - above.bottom;
            });
        }"""
    )
    assert gaps
    assert max(gaps) < 1


def test_keys_lead_to_each_dialog(visitor: Visitor):
    page = inspected(visitor, "branches", 1)
    address = page.url
    for key, title in (("f", "Fork step"), ("e", "Edit step"), ("c", "Compare")):
        page.goto(address)
        page.keyboard.press(key)
        expect(page.locator(".form-head h1")).to_have_text(re.compile(title))


def test_the_form_is_filled_and_sent_with_the_keyboard_alone(visitor: Visitor):
    page = inspected(visitor, "chat-True", 0)
    page.goto(page.url.partition("?")[0] + "fork/")
    page.get_by_label("Id of the new thread").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("by keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#timeline h1")).to_have_text("by keyboard")


@every_scheme
@everywhere
@pytest.mark.parametrize("dialog", ["fork/", "edit/?channel=messages&channel=order", "compare"])
def test_the_dialogs_fit_and_are_accessible(visitor: Visitor, dialog: str, width: int, scheme: str):
    page = inspected(visitor, "chat-False", 0, width=width, scheme=scheme)
    if dialog == "compare":
        page.get_by_role("link", name="Compare…").click()
        page.locator("a.candidate").nth(1).click()
    else:
        page.goto(page.url.partition("?")[0] + dialog)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page, options=OPTIONS)
    assert found.response["violations"] == [], found.generate_report()


def test_what_is_stored_stays_text_in_the_dialogs(visitor: Visitor):
    """The store of every shape has markup in its ids, channels, metadata and values."""
    page = visitor.open("/s/shapes/threads/")
    for address in page.locator(".threads .id a").evaluate_all("links => links.map(link => link.href)"):
        page.goto(address)
        step = page.locator("a.step").first.get_attribute("href") or ""
        base, _, query = step.partition("?")
        for dialog in ("fork/", "edit/"):
            page.goto(f"{base}{dialog}?{query}")
            boxes = page.locator("input[type=checkbox]")
            if dialog == "edit/" and boxes.count():
                boxes.first.check()
                page.get_by_role("button", name="Edit these").click()
                page.get_by_role("button", name="Review the changes").click()
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            assert page.locator("main img, main .injected, main script").count() == 0


def test_the_cursor_stands_at_the_mistake(visitor: Visitor):
    page = inspected(visitor, "edited-True", 0)
    page.goto(page.url.partition("?")[0] + "edit/?channel=log")
    page.get_by_label("log", exact=True).fill('[\n  "🙂",\n  oops\n]')
    page.get_by_role("button", name="Review the changes").click()
    text = page.get_by_label("log", exact=True)
    expect(text).to_be_focused()
    expect(page.locator(".near")).to_have_text("  oops\n  ^")
    assert text.evaluate("area => area.value.slice(area.selectionStart)") == "oops\n]"
    visitor.complaints.clear()  # the browser tells of the status


def test_typed_text_is_not_left_by_mistake(visitor: Visitor):
    page = inspected(visitor, "edited-True", 0)
    page.goto(page.url.partition("?")[0] + "edit/?channel=log")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_label("log", exact=True).press("End")
    page.keyboard.type(" ")
    page.get_by_role("link", name="Back to the checkpoint").click()
    expect(page.locator("#inspector")).to_be_visible()
    assert visitor.complaints == ["dialog: "], "the browser asks in its own words"
    visitor.complaints.clear()


def test_what_was_looked_over_is_not_left_by_mistake(visitor: Visitor):
    page = inspected(visitor, "edited-True", 0)
    page.goto(page.url.partition("?")[0] + "edit/?channel=log")
    page.on("dialog", lambda dialog: dialog.accept())
    for text, link in (("[oops", "Back to the checkpoint"), ('["typed"]', "Back to the checkpoint")):
        page.goto(page.url.partition("?")[0].partition("edit/")[0] + "edit/?channel=log")
        page.get_by_label("log", exact=True).fill(text)
        page.get_by_role("button", name="Review the changes").click()
        page.get_by_role("link", name=link).click()
        expect(page.locator("#inspector")).to_be_visible()
    assert [line for line in visitor.complaints if "422" not in line] == ["dialog: ", "dialog: "]
    visitor.complaints.clear()
