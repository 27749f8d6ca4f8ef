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
from checkpoints.stores import Location

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


async def report(stores: dict[str, Path], rounds: int) -> None:
    """Print the server time of each page, read anew and remembered, and its ratio to one without data."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
    os.environ |= {"EXPLORER_STORES": "\n".join(map(str, stores.values())), "EXPLORER_TOKEN": TOKEN}
    from explorer.asgi import application
    from explorer.recall import forget

    visitor = Visitor(application)
    await visitor.enter()

    async def anew(address: str) -> None:
        forget()
        await visitor.get(address)

    calls: dict[str, Callable[[], Awaitable[Any]]] = {WITHOUT_DATA: partial(visitor.get, WITHOUT_DATA)}
    for size, path in stores.items():
        for name, address in (await _addresses(path)).items():
            calls[f"{size} {name}"] = partial(anew, address)
            calls[f"{size} {name}, again"] = partial(visitor.get, address)
    taken = await medians(calls, rounds)
    bare = taken.pop(WITHOUT_DATA)
    rows: dict[str, list[str]] = {f"page without data ({WITHOUT_DATA})": [f"{bare:.2f} ms"] * len(stores)}
    for call, time in taken.items():
        rows.setdefault(call.partition(" ")[2], []).append(f"{time:.2f} ms {time / bare:5.2f} x")
    table("Pages, server time and ratio to a page without data", list(stores), rows)


async def _addresses(path: Path) -> dict[str, str]:
    from explorer.stores import registered

    chosen = await sample(Location.parse(str(path)))
    slug = next(slug for slug, location in registered().items() if location.path == str(path))
    place = {"store": slug, "thread": chosen.thread_id}
    return {
        "threads": reverse("threads", kwargs={"store": slug}),
        "timeline": reverse("timeline", kwargs=place),
        "checkpoint": reverse("checkpoint", kwargs={**place, "checkpoint_id": chosen.checkpoint_id}),
    }
