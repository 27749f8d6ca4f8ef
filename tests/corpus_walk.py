"""Visit every page of some stores under an audit hook, and print what happened as JSON.

    python tests/corpus_walk.py WARM-UP.sqlite STORE.sqlite ...

The first store is walked before the hook listens, so that templates are compiled and modules imported. After
that only opening the store itself is expected; every other event is printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import threading
from collections import deque
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.test import AsyncClient  # noqa: E402

from explorer import installation, stores  # noqa: E402

TOKEN = "token-of-the-walk"
LINK = re.compile(r'href="(/(?:s/[^"]*|))"')
VALUES_DEEP = 3
PLACED = frozenset({"open", "os.mkdir", "sqlite3.connect", "tempfile.mkdtemp"})
HARMLESS = frozenset(
    {
        "builtins.id",
        "object.__getattr__",  # Django and asyncio look at functions' code
        "sqlite3.connect/handle",
        "_thread.start_new_thread",
        "_thread.start_joinable_thread",
    }
)


@dataclass
class Ear:
    """Hears audit events while a store is walked; those of reading that store are as they should be.

    A store whose writer died with a -wal left is read from a copy in the temporary folder.
    """

    path: str = ""
    copies: tuple[str, ...] = ()
    unexpected: list[tuple[str, str]] = field(default_factory=list)

    def listen(self, path: str) -> None:
        self.path, self.unexpected = path, []
        stranded = os.path.exists(f"{path}-wal")
        self.copies = (os.path.join(tempfile.gettempdir(), "checkpoint-store-"),) if stranded else ()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.path and not self._is_reading(event, arguments):
            self.unexpected.append((event, repr(arguments)[:300]))

    def _is_reading(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if threading.current_thread().name.startswith("database"):
            return True  # Django asks the app's own database whether a checkpoint was replayed
        place = str(arguments[0]).removeprefix("file://") if event in PLACED else ""
        if place.startswith(self.copies):
            return True
        match event:
            case "open":
                return place.startswith(self.path) and arguments[2] & os.O_ACCMODE == os.O_RDONLY
            case "sqlite3.connect":
                return place in (":memory:", f"{self.path}?mode=ro", f"{self.path}?immutable=1")
        return event in HARMLESS


@dataclass
class Walk:
    """A visit of all pages of the open store, breadth first: the status of each, the largest in bytes."""

    client: AsyncClient
    answers: dict[str, int] = field(default_factory=dict)
    largest: int = 0
    refusal: str = ""

    async def visit(self) -> None:
        (store,) = stores.registered()
        waiting = deque([("/", 0), (f"/s/{store}/threads/", 0)])
        while waiting:
            url, depth = waiting.popleft()
            if url not in self.answers and depth <= VALUES_DEEP:
                waiting.extend((link, depth + ("/value/" in link)) for link in await self._links(url))

    async def _links(self, url: str) -> list[str]:
        response = await self.client.get(url)
        self.answers[url] = response.status_code
        if not response.headers.get("Content-Type", "").startswith("text/html"):
            return []
        page = response.content.decode()
        self.largest = max(self.largest, len(response.content))
        if response.status_code == 422:
            self.refusal = page
        found = map(unescape, LINK.findall(page))
        return [link for link in found if not ("/checkpoints/" in link and "density=" in link)]


async def walk(client: AsyncClient, path: str) -> Walk:
    """Walk one store."""
    settings.EXPLORER_STORES = (path,)
    walked = Walk(client)
    await walked.visit()
    return walked


async def _warm_up(client: AsyncClient, path: str) -> None:
    """Show one of every page, the refusal of a file that is no store too."""
    walked = await walk(client, path)
    checkpoint = next(url for url in walked.answers if url.endswith("/raw/")).removesuffix("raw/")
    assert (await client.get(f"{checkpoint}value/?part=metadata")).status_code == 200
    await walk(client, __file__)


async def main(warm_up: str, paths: list[str]) -> dict[str, Any]:
    settings.EXPLORER_TOKEN, settings.ALLOWED_HOSTS = TOKEN, ["testserver"]
    client = AsyncClient(raise_request_exception=False)
    await client.get("/", {"token": TOKEN})
    ear, report = Ear(), {}
    await _warm_up(client, warm_up)
    sys.addaudithook(ear)
    for path in paths:
        ear.listen(path)
        walked = await walk(client, path)
        ear.path = ""
        report[os.path.basename(path)] = {
            "answers": walked.answers,
            "refusal": walked.refusal,
            "largest": walked.largest,
            "unexpected": ear.unexpected,
        }
    return report


if __name__ == "__main__":
    installation.adopt()  # as a server does when it starts
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2:]))))
