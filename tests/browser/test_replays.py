"""Replays in the browser: asked for, watched while they run, answered, cancelled and compared."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from graphs import config, official_saver
from playwright.sync_api import expect

from browser.runnable import builder
from browser.test_look import OPTIONS
from browser.visitor import PHONE, WIDE, Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Served
    from playwright.sync_api import Browser, Page

OBSERVE = """() => {
    const line = (element) => element.innerText.replaceAll(/\\s+/g, " ");
    const look = () => window.seen.push(
        [".state", "ol.run"].flatMap((name) => [...document.querySelectorAll(name)]).map(line).join(": "));
    window.seen = [];
    look();
    new MutationObserver(look).observe(document.querySelector("main"), { childList: true, subtree: true });
}"""
AGENT = Path(__file__).parent / "runnable.py"
THREADS = "/s/slow/threads/"
NAMES = ["watched-True", "watched-False", "polled", "left", "answered", "failed", "cancelled", "looked"]
SOON = 20_000  # ms that a run may take to begin: it imports LangGraph first


@pytest.fixture(scope="module")
def replaying(serve: Callable[..., Served], tmp_path_factory: pytest.TempPathFactory) -> Served:
    """An explorer that can run the agent, on a store with threads of it that wait for an answer."""
    path = tmp_path_factory.mktemp("replays") / "slow.sqlite"
    with official_saver(path) as saver:
        graph: Any = builder.compile(checkpointer=saver)
        for name in (
            "watched-True",
            "watched-False",
            "polled",
            "left",
            "answered",
            "failed",
            "cancelled",
            "looked",
        ):
            graph.update_state(config(name, user_id="ana"), {"log": ["<s>asked</s>"]}, as_node="__start__")
    return serve(
        path,
        "--graph",
        f"agent={AGENT}:agent",
        "--graph",
        f"waiting={AGENT}:waiting",
        "--graph",
        "gone=gone.py:graph",
    )


@pytest.fixture
def visitor(browser: Browser, replaying: Served) -> Iterator[Visitor]:
    visitor = Visitor.admitted(browser, replaying)
    yield visitor
    visitor.leave()
    assert visitor.complaints == []


def asked(visitor: Visitor, thread: str, graph: str = "agent", **window: Any) -> Page:
    """Ask for a replay of the newest checkpoint of a thread, when a worker has told of the graph."""
    page = visitor.open(f"{THREADS}{thread}/", **window)
    page.locator("a.step").first.click()
    page.wait_for_url("**/checkpoints/**")
    page.locator("[data-key=r]").click()
    page.wait_for_url("**/replay/")
    offered = page.locator("select[name=graph]")
    while not offered.count() or graph not in offered.inner_text() or "look" not in offered.inner_text():
        page.wait_for_timeout(200)
        page.reload()
    page.get_by_role("radio", name="Replay from here").check()
    offered.select_option(graph)
    page.get_by_label("Reason").fill("to <b>see</b> it")
    page.get_by_role("button", name="Run it").click()
    page.wait_for_url("**/replays/*/")
    return page


def run(page: Page, text: str) -> Any:
    return page.locator("ol.run li").filter(has_text=re.compile(text))


def state(page: Page, name: str) -> None:
    expect(page.locator(".state")).to_have_text(name, timeout=SOON)


def test_progress_appears_while_it_runs_and_the_end_by_itself(visitor: Visitor):
    page = asked(visitor, "watched-True")
    page.evaluate(OBSERVE)
    ended(page)
    seen = [frame for frame in page.evaluate("window.seen") if frame.startswith("running")]
    assert any("look running" in frame for frame in seen)
    assert any("look finished" in frame and "think running" in frame for frame in seen)
    assert any("I have <i>thought</i>" in frame for frame in seen) or len(seen) > 2


def test_the_end_appears_without_javascript_too(visitor: Visitor):
    ended(asked(visitor, "watched-False", javascript=False))


def ended(page: Page) -> None:
    """Expect all that can be seen when the agent waits for an answer."""
    state(page, "interrupted")
    expect(run(page, r"^think\s*says\s*I have <i>thought</i> about it$")).to_be_visible()
    expect(run(page, r"^ask interrupt")).to_be_visible()
    expect(page.locator(".question")).to_have_text("Shall I <u>go on</u>?")
    expect(page.locator("#outcome")).to_be_visible()
    expect(page.locator("table.beside tbody tr")).to_have_count(2)
    page.get_by_text("Printed").click()
    expect(page.locator(".trace pre")).to_contain_text("looked <b>around</b>")
    assert page.locator("ol.run b i, .question u, .trace pre b").count() == 0


def test_where_the_stream_is_cut_off_the_page_is_asked_for(visitor: Visitor):
    """A proxy that keeps the events for itself."""
    visitor.silenced = "**/events/"
    page = asked(visitor, "polled")
    state(page, "interrupted")
    expect(page.locator(".question")).to_be_visible(timeout=SOON)
    visitor.complaints.clear()  # htmx tells of the broken stream


def test_closing_the_tab_changes_nothing(visitor: Visitor):
    page = asked(visitor, "left")
    address = page.url
    page.close()
    time.sleep(4)
    page = visitor.open(urlsplit(address).path)
    state(page, "interrupted")


def test_an_interrupt_is_answered_on_the_page_of_the_replay(visitor: Visitor):
    page = asked(visitor, "answered")
    state(page, "interrupted")
    page.get_by_role("textbox", name="Answer").fill("go on")
    page.get_by_role("button", name="Answer and go on").click()
    expect(page.locator("h1")).to_contain_text("Resume with an answer")
    state(page, "succeeded")
    expect(run(page, "^act finished")).to_be_visible()
    page.get_by_role("link", name="the newest one").click()
    expect(page.locator("#inspector h1")).to_contain_text("act")
    expect(page.locator("#state")).to_contain_text("acted")
    expect(page.locator("#inspector dl.facts").first).to_contain_text("made by")
    page.get_by_role("link", name=re.compile("^replay ")).first.click()
    state(page, "succeeded")


def test_a_failure_is_loud_and_can_be_continued(visitor: Visitor):
    page = asked(visitor, "failed")
    state(page, "interrupted")
    page.get_by_role("textbox", name="Answer").fill("fail")
    page.get_by_role("button", name="Answer and go on").click()
    state(page, "failed")
    expect(page.locator(".error-text")).to_contain_text("RuntimeError: told to <b>fail</b>")
    expect(page.locator(".trace pre.error")).to_contain_text("runnable.py")
    page.goto(f"{THREADS}failed/")
    page.locator(".pending").get_by_role("link", name="Run…").click()
    expect(page.get_by_role("radio", name="Continue")).to_be_checked()
    expect(page.locator(".kind").first).to_contain_text("act, and what follows")


def test_a_run_is_cancelled(visitor: Visitor):
    page = asked(visitor, "cancelled", "waiting")
    expect(run(page, "^wait running")).to_be_visible(timeout=SOON)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#progress")).to_contain_text("It was asked to stop")
    state(page, "cancelled")
    expect(run(page, "^wait cut off")).to_be_visible()
    expect(page.get_by_role("link", name="Ask again…")).to_be_visible()


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_every_page_fits_and_can_be_read_by_everybody(visitor: Visitor, width: int):
    page = asked(visitor, "looked", width=width)
    state(page, "interrupted")
    ask_href = page.get_by_role("link", name="More choices").get_attribute("href") or ""
    replay_href = urlsplit(page.url).path
    axe = Axe()
    for target in (replay_href, ask_href, "/replays/", "/replays/?state=lost", "/help/"):
        for scheme in ("light", "dark"):
            page = visitor.open(target, width=width, scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, target
            found = axe.run(page, options=OPTIONS)
            assert found.violations_count == 0, (target, found.generate_report())
            page.context.close()


def test_a_replay_is_asked_for_with_the_keyboard_alone(visitor: Visitor):
    page = visitor.open(f"{THREADS}looked/")
    page.keyboard.press("r")
    page.wait_for_url("**/replay/")
    tab_to(page, "kind")
    while page.evaluate("document.activeElement.value") != "replay":
        page.keyboard.press("ArrowDown")
    tab_to(page, "reason")
    page.keyboard.type("by hand")
    page.keyboard.press("Enter")
    page.wait_for_url("**/replays/*/")
    expect(page.locator(".form-head")).to_contain_text("“by hand”")


def tab_to(page: Page, name: str) -> None:
    for _ in range(40):
        if page.evaluate("document.activeElement.name") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(name)
