"""Where the bytes of a store go, for whoever has to decide what may be deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from checkpoints.snapshot import id_time
from explorer import addresses
from explorer.people.roles import who
from explorer.recall import recall
from explorer.rendering import screen
from explorer.stores import located
from explorer.wording import ago, at_least, count, exact, size

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from checkpoints.stores import Store
    from checkpoints.stores.usage import ChannelUsage, ThreadUsage, Usage

WIDEST = 100  # of a bar


@dataclass(frozen=True, slots=True)
class ThreadLine:
    """One of the largest threads."""

    id: str
    href: str
    checkpoints: str
    bytes: str
    bar: int
    written_at: datetime | None
    exact: str


@dataclass(frozen=True, slots=True)
class Line:
    """A table, a kind of namespaces or a channel; `bar` is its part of the largest, in hundredths."""

    name: str
    bytes: str
    bar: int
    rows: str = ""
    more: str = ""
    ours: bool = False


@dataclass(frozen=True, slots=True)
class BytesScreen:
    """What the page shows of a store."""

    total: str
    free: str
    freed: str
    tables: tuple[Line, ...]
    threads: tuple[ThreadLine, ...]
    namespaces: tuple[Line, ...]
    channels: tuple[Line, ...]
    states: str
    deltas: bool
    bound: str | None


async def bytes_page(request: HttpRequest, store: str) -> HttpResponse:
    shown = await recall(
        who(request), located(store), ("bytes", store), lambda opened: _screen(opened, store)
    )
    now = datetime.now(UTC)
    threads = [(line, ago(line.written_at, now)) for line in shown.threads]
    context = {"screen": shown, "threads": threads, "store": store}
    return screen(request, "bytes/page.html", "bytes/_bytes.html", context)


async def _screen(opened: Store, store: str) -> BytesScreen:
    found = await opened.usage()
    return BytesScreen(
        total=size(found.bytes),
        free=size(found.free) if found.free else "",
        freed=_freed(found),
        tables=_tables(found),
        threads=_threads(store, found.threads),
        namespaces=_namespaces(found),
        channels=tuple(_channel(each, found) for each in found.channels),
        states="" if found.states is None else count(found.states, "state"),
        deltas=found.deltas,
        bound=found.bound,
    )


def _freed(found: Usage) -> str:
    """Say what keeping the newest checkpoints alone would free."""
    if not found.content:
        return ""
    return f"about {size(found.freed)}, {found.freed / found.content:.0%} of the content"


def _tables(found: Usage) -> tuple[Line, ...]:
    most = max((table.bytes for table in found.tables), default=0)
    return tuple(
        Line(
            name=table.name,
            bytes=size(table.bytes),
            bar=_bar(table.bytes, most),
            rows=f"{table.rows:,}",
            more="" if table.disk is None else f"{size(table.disk)} on the disk with indexes",
        )
        for table in found.tables
    )


def _threads(store: str, threads: tuple[ThreadUsage, ...]) -> tuple[ThreadLine, ...]:
    most = max((thread.bytes for thread in threads), default=0)
    return tuple(_thread(store, thread, most) for thread in threads)


def _thread(store: str, thread: ThreadUsage, most: int) -> ThreadLine:
    written_at = id_time(thread.head_id) if thread.head_id else None
    return ThreadLine(
        id=thread.thread_id or "(empty id)",
        href=addresses.timeline(store, thread.thread_id),
        checkpoints=at_least(thread.checkpoints, thread.at_least),
        bytes=("at least " if thread.at_least else "") + size(thread.bytes),
        bar=_bar(thread.bytes, most),
        written_at=written_at,
        exact=exact(written_at),
    )


def _namespaces(found: Usage) -> tuple[Line, ...]:
    most = max((each.bytes for each in found.namespaces), default=0)
    return tuple(
        Line(_kind(each.kind), size(each.bytes), _bar(each.bytes, most), f"{each.rows:,}")
        for each in found.namespaces
    )


def _kind(kind: str) -> str:
    """Name a kind of namespaces: the root graph, calls of a subgraph, or one with a memory of its own."""
    if not kind:
        return "root graph"
    nodes = kind.replace(":", "").replace("|", " › ")
    return f"calls of {nodes}" if ":" in kind else nodes


def _channel(channel: ChannelUsage, found: Usage) -> Line:
    most = max((each.states + each.writes for each in found.channels), default=0)
    whole = channel.states + channel.writes
    return Line(
        name=channel.name,
        bytes=size(channel.states) if channel.states else "",
        bar=_bar(whole, most),
        more=size(channel.writes) if channel.writes else "",
        ours=channel.ours,
    )


def _bar(part: int, most: int) -> int:
    return round(part / most * WIDEST) if most else 0
