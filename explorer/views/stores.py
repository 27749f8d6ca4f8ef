"""The open stores, each with its size, threads and state."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from checkpoints.errors import StoreError
from checkpoints.stores.location import shown
from explorer import addresses
from explorer.people.roles import who
from explorer.reading import read
from explorer.rendering import screen
from explorer.stores import registered
from explorer.wording import count, size

if TYPE_CHECKING:
    from checkpoints.stores import Location, Overview
    from explorer.people.roles import Person


@dataclass(frozen=True, slots=True)
class StoreLine:
    """One open store; `problem` says why it cannot be read."""

    slug: str
    name: str
    location: str
    href: str
    threads: str
    size: str
    state: str
    problem: str = ""
    advice: str = ""


async def stores(request: HttpRequest) -> HttpResponse:
    located = registered()
    if len(located) == 1:
        return HttpResponseRedirect(addresses.threads(next(iter(located))))
    lines = await asyncio.gather(*(_line(who(request), slug, location) for slug, location in located.items()))
    return screen(request, "stores/page.html", "stores/_list.html", {"stores": lines})


async def store(request: HttpRequest, store: str) -> HttpResponse:
    return HttpResponseRedirect(addresses.threads(store))


async def _line(person: Person, slug: str, location: Location) -> StoreLine:
    try:
        found = await read(person, location, lambda opened: opened.overview())
    except StoreError as error:
        return StoreLine(
            slug, location.name, shown(location.text), "", "", "", "", error.sentence, error.advice
        )
    return StoreLine(
        slug=slug,
        name=found.name,
        location=found.location,
        href=addresses.threads(slug),
        threads=("more than " if found.threads_at_least else "") + count(found.threads, "thread"),
        size=size(found.bytes),
        state=_state(found),
    )


def _state(found: Overview) -> str:
    """Say what server it is on; of a file whether an agent has it open, as far as those beside it tell."""
    if found.server:
        return f"PostgreSQL {found.server}, {'read-only standby' if found.standby else 'primary'}"
    if found.log_bytes:
        return f"in use, {size(found.log_bytes)} in the log"
    return "write-ahead log, at rest" if found.journal_mode == "wal" else "rollback journal"
