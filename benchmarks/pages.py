"""The pages: from the ASGI scope to the last byte, in this process, without a network."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

from django.urls import reverse

from benchmarks.clock import medians, table
from benchmarks.layer import sample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

TOKEN = "benchmark"
HOST = (b"localhost", 8000)
WITHOUT_DATA = "/help/"


class Visitor:
    """A browser with the token's cookie, talking to the ASGI callable itself."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.cookie = b""

    async def enter(self) -> None:
        """Trade the token for the cookie, as a browser does on the printed address."""
        headers = await self.get("/", f"token={TOKEN}", expected=302)
        cookies = SimpleCookie(
            next(value for name, value in headers if name.lower() == b"set-cookie").decode()
        )
        self.cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items()).encode()

    async def get(self, path: str, query: str = "", *, expected: int = 200) -> list[tuple[bytes, bytes]]:
        """Get a page and return its headers."""
        messages: list[dict[str, Any]] = []
        requests = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            return requests.pop() if requests else await asyncio.Future()  # it never hangs up

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        await self.application(self._scope(path, query), receive, send)
        assert messages[0]["status"] == expected, f"{path}: {messages[0]['status']}"
        return list(messages[0]["headers"])

    def _scope(self, path: str, query: str) -> dict[str, Any]:
        name, port = HOST
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"%s:%d" % HOST), (b"cookie", self.cookie)],
            "client": ("127.0.0.1", 50000),
            "server": (name.decode(), port),
        }


async def report(stores: dict[int, Path], rounds: int) -> None:
    """Print the server time of each page at each size, and its ratio to a page without data."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
    os.environ |= {"EXPLORER_STORES": "\n".join(map(str, stores.values())), "EXPLORER_TOKEN": TOKEN}
    from explorer.asgi import application

    visitor = Visitor(application)
    await visitor.enter()
    addresses = {size: await _addresses(path) for size, path in stores.items()}
    calls: dict[str, Callable[[], Awaitable[Any]]] = {WITHOUT_DATA: partial(visitor.get, WITHOUT_DATA)}
    for pages in addresses.values():
        calls |= {address: partial(visitor.get, address) for address in pages.values()}
    taken = await medians(calls, rounds)
    bare = taken[WITHOUT_DATA]
    rows = {f"page without data ({WITHOUT_DATA})": [f"{bare:.2f} ms"] * len(stores)}
    for name in next(iter(addresses.values())):
        times = [taken[pages[name]] for pages in addresses.values()]
        rows[name] = [f"{time:.2f} ms {time / bare:5.2f} x" for time in times]
    table("Pages, server time and ratio to a page without data", [f"{size:,}" for size in stores], rows)


async def _addresses(path: Path) -> dict[str, str]:
    from explorer.stores import registered

    chosen = await sample(path)
    slug = next(slug for slug, location in registered().items() if location.path == str(path))
    place = {"store": slug, "thread": chosen.thread_id}
    return {
        "threads": reverse("threads", kwargs={"store": slug}),
        "timeline": reverse("timeline", kwargs=place),
        "checkpoint": reverse("checkpoint", kwargs={**place, "checkpoint_id": chosen.checkpoint_id}),
    }
