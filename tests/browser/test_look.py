"""Whether every screen fits, can be read by everybody, and weighs little."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from graphs import AWKWARD
from playwright.sync_api import expect

from browser.stores import IMAGE, LONG_ID, REQUEST
from browser.visitor import PHONE, WIDE
from explorer import addresses

if TYPE_CHECKING:
    from conftest import Served
    from playwright.sync_api import Page

    from browser.visitor import Visitor

SCREENS = {
    "stores": "/",
    "help": "/help/",
    "threads": addresses.threads("demo"),
    "bytes": addresses.bytes_page("demo"),
    "search": addresses.threads("demo", q="user_id=alice"),
    "nothing found": addresses.threads("demo", q="z" * 300),
    "waiting": addresses.timeline("demo", "refund-1043"),
    "failed": addresses.timeline("demo", "payment-1049"),
    "compact": addresses.timeline("demo", "long-conversation", density="compact"),
    "everything": addresses.timeline("shapes", "nested", density="everything"),
    "branches": addresses.timeline("forkable", "branches"),
}
ODD_IDS = {
    "threads with odd ids": addresses.threads("shapes"),
    "bytes of odd ids": addresses.bytes_page("shapes"),
    "awkward id": addresses.timeline("shapes", AWKWARD),
    "long id": addresses.timeline("shapes", LONG_ID),
    "markup": addresses.timeline("shapes", f"{IMAGE}{REQUEST}"),
}
CHECKPOINTS = {
    "big": addresses.timeline("shapes", "big"),
    "transcript": addresses.timeline("demo", "transcript-1052"),
    "long": addresses.timeline("shapes", LONG_ID),
    "waiting": addresses.timeline("demo", "refund-1043"),
    "failed": addresses.timeline("shapes", "failing"),
    "nested": addresses.timeline("shapes", "nested"),
}
WIDTHS = (PHONE, 320, WIDE)
LIMIT = 30_000
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OPTIONS = {"runOnly": TAGS, "resultTypes": ["violations"], "preload": False}
COLOURS = OPTIONS | {"runOnly": ["color-contrast", "link-in-text-block"]}

every_screen = pytest.mark.parametrize("target", SCREENS.values(), ids=SCREENS)
every_screen_and_id = pytest.mark.parametrize(
    "target", [*SCREENS.values(), *ODD_IDS.values()], ids=[*SCREENS, *ODD_IDS]
)
every_checkpoint = pytest.mark.parametrize("target", CHECKPOINTS.values(), ids=CHECKPOINTS)
everywhere = pytest.mark.parametrize("width", [WIDE, PHONE])


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong in light, and with the colours in dark, each with element and reason."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    page.emulate_media(color_scheme="dark")
    found += Axe().run(page, options=COLOURS).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"][:3]
    ]


def beyond_the_edge(page: Page, width: int) -> list[str]:
    """Return what makes the page wider than the window."""
    page.set_viewport_size({"width": width, "height": 800})
    return page.evaluate("""() => {
        const root = document.scrollingElement;
        if (root.scrollWidth <= innerWidth) return [];
        return ["page", ...[...document.body.querySelectorAll("*")]
            .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
            .slice(0, 8).map((node) => node.outerHTML.slice(0, 90))];
    }""")


def open_checkpoint(page: Page) -> None:
    page.goto(page.locator("a.step").first.get_attribute("href") or "")
    for link in page.locator("#state .rest a").all()[:1]:
        link.click()
        page.wait_for_load_state("networkidle")


@every_screen
@everywhere
def test_everybody_can_read_it(visitor: Visitor, target: str, width: int):
    page = visitor.open(target, width=width)
    assert violations(page) == []


@every_checkpoint
def test_everybody_can_read_a_checkpoint_on_a_phone(visitor: Visitor, target: str):
    page = visitor.open(target, width=PHONE)
    open_checkpoint(page)
    assert violations(page) == []


@every_screen_and_id
def test_no_screen_scrolls_sideways(visitor: Visitor, target: str):
    page = visitor.open(target, width=PHONE)
    assert [beyond_the_edge(page, width) for width in WIDTHS] == [[], [], []]


@every_checkpoint
def test_no_checkpoint_scrolls_sideways(visitor: Visitor, target: str):
    page = visitor.open(target, width=PHONE)
    open_checkpoint(page)
    assert [beyond_the_edge(page, width) for width in WIDTHS] == [[], [], []]


@every_checkpoint
def test_a_checkpoint_has_one_title_on_a_phone_and_no_id_twice(visitor: Visitor, target: str):
    page = visitor.open(target, width=PHONE)
    open_checkpoint(page)
    ids = page.locator("[id]").evaluate_all("nodes => nodes.map((node) => node.id)")
    expect(page.locator("h1:visible")).to_have_count(1)
    assert len(ids) == len({*ids})


def test_own_styles_and_scripts_weigh_little(visitor: Visitor, explorer: Served):
    page = visitor.open("/")
    own = page.locator('link[rel=stylesheet], script[src*="explorer"]').all()
    sources = [node.get_attribute("href") or node.get_attribute("src") for node in own]
    bodies = [explorer.get(str(source), **explorer.admitted()).body for source in sources]
    assert len(sources) == 2
    assert sum(len(gzip.compress(body)) for body in bodies) < LIMIT
