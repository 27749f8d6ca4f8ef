"""What the app shows of a store: every thread, checkpoint and pending write, read off its pages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from django.http import QueryDict
from django.test import AsyncClient, override_settings
from pages import following, load

from checkpoints.stores import close, read
from explorer import addresses, stores, tilde

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pages import Element

TOKEN = "token-of-the-corpus"
LONG, SAMPLE = 200, 25  # of a longer timeline every 25th checkpoint's page is looked at


class Related(NamedTuple):
    """A checkpoint's parent and its pending writes, `[task, channel]`; `rotten` if its page marks one."""

    parent_id: str | None
    writes: list[list[str]]
    rotten: bool = False


@dataclass(frozen=True, slots=True)
class ShownCheckpoint:
    """One checkpoint of a timeline, and what it is related to."""

    checkpoint_id: str
    source: str | None
    step: int | None
    related: Related
    problem: str
    marks: frozenset[str]


@dataclass(frozen=True, slots=True)
class ShownThread:
    """One thread: its line in the list, the unfinished next step, and its checkpoints oldest first."""

    status: str
    total: int
    next: list[str]
    questions: list[str]
    failures: list[str]
    counts: dict[str, int]
    namespaces: dict[str, list[ShownCheckpoint]]


def shown(place: Path | str) -> dict[str, ShownThread]:
    """Walk all pages of one store."""
    with override_settings(EXPLORER_STORES=(str(place),), EXPLORER_TOKEN=TOKEN):
        return asyncio.run(_walked())


async def _walked() -> dict[str, ShownThread]:
    try:
        return await _walk()
    finally:
        await close()


async def _walk() -> dict[str, ShownThread]:
    client = AsyncClient()
    await client.get("/", {"token": TOKEN})
    (store,) = stores.registered()
    found = {}
    async for page in following(client, addresses.threads(store)):
        for line in page.find("table.threads tbody tr"):
            link = line.one("td.id a")
            thread = tilde.decode(link["href"].split("/")[4])
            assert link.text == (thread or "(empty id)")
            assert thread not in found, f"{thread!r} is listed twice"
            found[thread] = await _thread(client, thread, link["href"], line)
    return found


async def _thread(client: AsyncClient, thread: str, href: str, line: Element) -> ShownThread:
    first = await load(client, href)
    tree = [(link["title"], link["href"]) for link in first.find("details.namespaces a")]
    tree = tree or [(QueryDict(urlsplit(href).query).get("ns", ""), href)]
    timelines = {ns: [page async for page in following(client, href)] for ns, href in tree}
    counts = {ns: pages[0].find("header.head div.row")[1].words for ns, pages in timelines.items()}
    return ShownThread(
        status=line.one("td.state span").text,
        total=_number(line.one("td.num").children[0]),
        next=[name for title in first.find("section.pending b") for name in _planned(title.text)],
        questions=[question.text for question in first.find("section.pending p.question")],
        failures=[failure.text for failure in first.find("section.pending pre.error")],
        counts={ns: _number(count) for ns, count in counts.items()},
        namespaces={ns: await _checkpoints(client, thread, ns, pages) for ns, pages in timelines.items()},
    )


def _planned(title: str) -> Iterator[str]:
    """Yield the nodes of a title like `Next: 2 × work, collect`."""
    for part in title.removeprefix("Next: ").split(", "):
        times, _, name = part.rpartition(" × ")
        yield from [name] * int(times or 1)


async def _checkpoints(
    client: AsyncClient, thread: str, ns: str, timeline: list[Element]
) -> list[ShownCheckpoint]:
    steps = [step for page in timeline for step in page.find("a.step")][::-1]
    if len(steps) <= LONG:
        return [_checkpoint(step, await _on_its_page(client, step)) for step in steps]
    stored = await _stored(thread, ns)
    for step in steps[::SAMPLE]:
        assert stored[step["title"]] == await _on_its_page(client, step)
    return [_checkpoint(step, stored[step["title"]]) for step in steps]


async def _on_its_page(client: AsyncClient, step: Element) -> Related:
    page = await load(client, step["href"], HX_Request="true")
    assert page.one("article[data-checkpoint]")["data-checkpoint"] == step["title"]
    writes = [
        [task.one("p.mono").text.split()[1], _name(write.one("h4"))]
        for task in page.find("section#writes div.task-writes")
        for write in task.find("div.write")
    ]
    return Related(_parent(page), writes, bool(page.find(".v-bad") + page.find("p.notice")))


async def _stored(thread: str, ns: str) -> dict[str, Related]:
    """Read what the pages would show, without rendering thousands of them."""
    (location,) = stores.registered().values()
    found: dict[str, Related] = {}
    before = None
    while before is not None or not found:
        page = await read(location, lambda opened, key=before: opened.timeline(thread, ns, before=key))
        for row in page.checkpoints:
            writes = [[write.task_id, write.channel] for write in page.writes.get(row.checkpoint_id, ())]
            found[row.checkpoint_id] = Related(row.parent_checkpoint_id, writes)
        before = page.older
    return found


def _checkpoint(step: Element, related: Related) -> ShownCheckpoint:
    (source, *marks), number = step.find("span.tag"), step.one("span.n").text.replace("−", "-")
    return ShownCheckpoint(
        checkpoint_id=step["title"],
        source=None if source.text.startswith("no") else source.text,
        step=None if number == "?" else int(number),
        related=related,
        problem=" ".join(problem.text for problem in step.find("span.problem")),
        marks=frozenset(mark.text for mark in marks),
    )


def _parent(page: Element) -> str | None:
    codes = page.find("dl.facts")[0].find("dd")[1].find("code")
    return codes[0].text if codes else None


def _name(heading: Element) -> str:
    """Return the text before the heading's remark."""
    return str(heading.children[0]).removesuffix(" ")


def _number(text: object) -> int:
    return int(str(text).split()[0].replace(",", ""))
