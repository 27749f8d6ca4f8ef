"""Photograph every screen of a running explorer that has the demo store open.

`python tests/browser/screenshots.py ADDRESS FOLDER`, with the address that the command printed.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chromium import launch
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZES = {1440: 900, 390: 844}
THREADS = "/s/demo/threads/"
SCREENS = {
    "threads": THREADS,
    "search": f"{THREADS}?q=user_id=alice",
    "nothing-found": f"{THREADS}?q=nobody",
    "waiting": f"{THREADS}refund-1043/",
    "compact": f"{THREADS}long-conversation/?density=compact",
    "everything": f"{THREADS}refund-1047/?density=everything",
    "branches": f"{THREADS}refund-1048/",
    "failed": f"{THREADS}payment-1049/",
    "namespaces": f"{THREADS}report-q4/",
    "missing": f"{THREADS}nobody/",
    "bytes": "/s/demo/bytes/",
    "help": "/help/",
}
CHECKPOINTS = ("waiting", "branches", "failed", "namespaces")
DIALOGS = {"fork": "Fork…", "edit": "Edit customer and fork", "compare": "Compare…"}


def photograph(address: str, folder: Path) -> None:
    """Write one picture for every screen, width and scheme into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, launch(playwright) as browser:
        for (width, height), scheme in product(SIZES.items(), ("light", "dark")):
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(address)
            _screens(
                page, f"{urlsplit(address).scheme}://{urlsplit(address).netloc}", folder, f"{width}-{scheme}"
            )
            page.close()


def _screens(page: Page, origin: str, folder: Path, look: str) -> None:
    for name, target in SCREENS.items():
        page.goto(origin + target, wait_until="networkidle")
        page.screenshot(path=folder / f"{name}-{look}.png")
        if name in CHECKPOINTS:
            page.locator("a.step").first.click()
            page.locator("#inspector [data-checkpoint]").wait_for()
            page.screenshot(path=folder / f"{name}-checkpoint-{look}.png")
            page.get_by_role("link", name="Raw", exact=True).click()
            page.screenshot(path=folder / f"{name}-raw-{look}.png")
            page.go_back()
        if name == "waiting":
            _dialogs(page, folder, look)


def _dialogs(page: Page, folder: Path, look: str) -> None:
    """Photograph what a checkpoint can be used for."""
    address = page.url
    for name, link in DIALOGS.items():
        page.goto(address, wait_until="networkidle")
        page.get_by_role("link", name=link).click()
        page.screenshot(path=folder / f"{name}-{look}.png")
    page.locator("a.candidate").last.click()
    page.screenshot(path=folder / f"compared-{look}.png")


if __name__ == "__main__":
    photograph(sys.argv[1], Path(sys.argv[2]))
