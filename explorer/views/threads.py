"""The threads of a store, most recently written first, and the search for some of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checkpoints.preview import preview
from checkpoints.snapshot import PendingWrite, Snapshot
from checkpoints.status import Status, status
from checkpoints.tasks import next_nodes, pending_sends, tasks
from explorer import addresses, search
from explorer.forms import ThreadsParameters
from explorer.offload import offload
from explorer.people.roles import who
from explorer.recall import recall
from explorer.rendering import screen
from explorer.rows import joined
from explorer.stores import located
from explorer.wording import ago, at_least, count, exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django.http import HttpRequest, HttpResponse
    from django.utils.safestring import SafeString

    from checkpoints.inert import InertSerializer
    from checkpoints.stores import Hint, Store
    from checkpoints.stores.records import CheckpointRow, ThreadRow


@dataclass(frozen=True, slots=True)
class ThreadLine:
    """One thread of the list: when it was last written, and the other fields of its row."""

    written_at: datetime | None
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ThreadsScreen:
    """What the list of threads shows."""

    q: str
    searching: str
    lines: tuple[ThreadLine, ...]
    older: str
    newest: str
    bound: str | None
    hint: Hint | None
    find: str


async def threads(request: HttpRequest, store: str) -> HttpResponse:
    asked = ThreadsParameters.read(request.GET)
    search.require(who(request), asked["q"] or "")
    location = located(store)
    key = ("threads", store, asked["q"], asked["before"])
    shown = await recall(who(request), location, key, lambda opened: _screen(opened, store, asked))
    context = {"screen": shown, "rows": _rows(shown.lines), "store": store}
    return screen(request, "threads/page.html", "threads/_list.html", context)


def _rows(lines: Iterable[ThreadLine]) -> SafeString:
    now = datetime.now(UTC)
    return joined("threads/_row.html", ({**line.fields, "ago": ago(line.written_at, now)} for line in lines))


async def _screen(opened: Store, store: str, asked: dict[str, Any]) -> ThreadsScreen:
    q = asked["q"] or ""
    page = await opened.threads(before=asked["before"] or None, search=search.parse(q))
    weight = sum(row.head.weight for row in page.threads if row.head)
    return ThreadsScreen(
        q=q,
        searching=_searching(q),
        lines=await offload(weight, _lines, store, page.threads, opened.serde),
        older="" if page.before is None else addresses.threads(store, q=q, before=page.before),
        newest=addresses.threads(store, q=q) if asked["before"] else "",
        bound=page.bound,
        hint=page.hint,
        find=_find(store, q),
    )


def _find(store: str, q: str) -> str:
    """Address the page that finds threads to delete, with the metadata that is searched for here."""
    wanted = search.parse(q)
    pair = wanted.metadata if wanted else None
    return addresses.find(store, meta=f'{pair[0]}="{pair[1]}"' if pair and '"' not in pair[1] else "")


def _searching(q: str) -> str:
    wanted = search.parse(q)
    if wanted is None:
        return ""
    parts = []
    if wanted.thread_id:
        parts.append(f"whose id contains “{wanted.thread_id}”")
    if wanted.metadata:
        parts.append(f"with a checkpoint whose metadata has {wanted.metadata[0]} = {wanted.metadata[1]}")
    return " and ".join(parts)


def _lines(store: str, rows: Iterable[ThreadRow], serde: InertSerializer) -> tuple[ThreadLine, ...]:
    return tuple(_line(store, row, serde) for row in rows)


def _line(store: str, row: ThreadRow, serde: InertSerializer) -> ThreadLine:
    head, first = _snapshot(row.head, serde), _snapshot(row.first, serde)
    found, plan = _state(head, row, serde)
    written_at = head.written_at if head else None
    fields = {
        "id": row.thread_id or "(empty id)",
        "href": addresses.timeline(store, row.thread_id, ns=row.head.checkpoint_ns if row.head else ""),
        "preview": preview(first, head),
        "status": found,
        "tone": found.replace(" ", "-"),
        "next": f"next: {', '.join(plan)}" if plan else "",
        "checkpoints": at_least(row.checkpoints, row.at_least),
        "namespaces": "" if row.namespaces == 1 else count(row.namespaces, "namespace"),
        "last": _last(head),
        "iso": written_at.isoformat() if written_at else "",
        "exact": exact(written_at),
    }
    return ThreadLine(written_at, fields)


def _snapshot(row: CheckpointRow | None, serde: InertSerializer) -> Snapshot | None:
    return None if row is None else Snapshot(row, serde)


def _state(head: Snapshot | None, row: ThreadRow, serde: InertSerializer) -> tuple[str, tuple[str, ...]]:
    """Return the derived status and the next nodes; a thread of orphaned writes has neither."""
    if head is None:
        return "orphaned writes", ()
    sends = pending_sends(head)
    ran = tasks((PendingWrite(write, serde) for write in row.head_writes), sends)
    plan = next_nodes(head, sends, ran)
    found = status(head, ran, plan)
    return found.value, () if found is Status.IDLE else plan


def _last(head: Snapshot | None) -> str:
    if head is None:
        return "no checkpoint"
    return f"{head.source or 'no source'} · step {'?' if head.step is None else head.step}"
