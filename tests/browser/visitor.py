"""Somebody at a browser, who complains of everything that a page should not do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from conftest import Served
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, Route

WIDE, PHONE = 1440, 390
REPORT_VIOLATIONS = """addEventListener("securitypolicyviolation", (event) =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))"""

# A wide timeline loads the newest checkpoint beside it.
SETTLED = """() => innerWidth <= 860 || !document.querySelector("#inspector[data-open]")
    || document.querySelector("#inspector [data-checkpoint]")"""


@dataclass
class Visitor:
    """Opens pages, each in a window of its own, and keeps what went wrong in `complaints`.

    `cookies` are those of an admitted browser. What a test provokes on purpose it takes out again.
    Requests that match `silenced` get an empty stream of events.
    """

    browser: Browser
    origin: str
    cookies: Any
    complaints: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    silenced: str = ""

    def open(
        self, target: str, *, width: int = WIDE, scheme: Any = "light", javascript: bool = True, **window: Any
    ) -> Page:
        context = self.browser.new_context(
            base_url=self.origin,
            color_scheme=scheme,
            java_script_enabled=javascript,
            storage_state=self.cookies,
            viewport={"width": width, "height": 900 if width >= 860 else 844},
            **window,
        )
        if javascript:
            context.add_init_script(REPORT_VIOLATIONS)
        context.set_default_timeout(10_000)
        if self.silenced:
            context.route(self.silenced, _silence)
        page = context.new_page()
        self._watch(page)
        page.goto(target)
        if javascript:
            page.wait_for_function(SETTLED)
        return page

    @classmethod
    def admitted(cls, browser: Browser, served: Served) -> Visitor:
        """Return somebody who came to an explorer with the address that its command printed."""
        with browser.new_context() as context:
            context.new_page().goto(served.url)
            cookies = context.storage_state()
        return cls(browser, origin(served), cookies)

    def leave(self) -> None:
        for context in self.browser.contexts:
            context.close()

    def _watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failed)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(self.origin):
            self.complaints.append(f"another host: {request.url}")
        if request.is_navigation_request():
            self.documents.append(urlsplit(request.url).path)

    def _failed(self, request: Request) -> None:
        # Who leaves a page ends what it still loads.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url} {request.failure}")

    def _response(self, response: Response) -> None:
        policy = response.headers.get("content-security-policy", "")
        if "default-src" not in policy or "unsafe" in policy:
            self.complaints.append(f"policy of {response.url}: {policy or 'none'}")


def origin(served: Served) -> str:
    """Return the address of an explorer without what admits to it."""
    address = urlsplit(served.url)
    return f"{address.scheme}://{address.netloc}"


def _silence(route: Route) -> None:
    route.fulfill(status=200, content_type="text/event-stream", body="retry: 600000\n\n")
