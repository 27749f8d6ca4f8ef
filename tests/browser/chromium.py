"""The browser of the tests: the Chromium of this machine, else Playwright's own."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def launch(playwright: Playwright) -> Browser:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    # Chromium refuses to start as root inside its sandbox.
    sandbox = () if os.getuid() else ("--no-sandbox",)
    return playwright.chromium.launch(executable_path=found, args=[*QUIET, *sandbox])
