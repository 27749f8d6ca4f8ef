"""The audit: who has done what, and all of it as a file."""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, cast

from explorer import addresses, stores, tilde, trail
from explorer.audit import audited
from explorer.database.threads import in_database
from explorer.forms import AuditParameters
from explorer.models import Outcome
from explorer.people.roles import who
from explorer.rendering import screen
from explorer.sending import attachment
from explorer.wording import ago, exact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

IN_MEMORY = 4 << 20  # bytes
TONES = {"done": "good", "refused": "wait", "failed": "bad", "begun": "loop"}


@dataclass(frozen=True, slots=True)
class ActionLine:
    """One action. `thread_href` is empty where its store is not open here."""

    action: str
    outcome: str
    tone: str
    person: str
    roles: str
    store: str
    thread: str
    thread_href: str
    details: tuple[tuple[str, str], ...]
    href: str
    at: str
    ago: str


@dataclass(frozen=True, slots=True)
class AuditScreen:
    """What the page of the audit shows, and what it was asked for."""

    lines: tuple[ActionLine, ...]
    asked: Mapping[str, str]
    actions: tuple[str, ...]
    outcomes: tuple[str, ...]
    stores: tuple[str, ...]
    filtered: bool
    older: str
    newest: str


async def audit(request: HttpRequest) -> HttpResponse:
    asked = AuditParameters.read(request.GET)
    shown = await in_database(_screen, asked)
    return screen(request, "audit/page.html", "audit/_list.html", {"audit": shown})


async def export(request: HttpRequest) -> StreamingHttpResponse:
    """Answer with the rows that a form asks for; that they were taken is noted before."""
    asked = AuditParameters.read(request.POST)
    as_csv = request.POST.get("format") == "csv"
    kind, ending = ("text/csv", "csv") if as_csv else ("application/x-ndjson", "jsonl")
    told = {"what": "audit", "format": ending, **{key: str(value) for key, value in asked.items() if value}}
    with ExitStack() as unfinished:
        spooled = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  it is entered here
        file = unfinished.enter_context(cast("IO[bytes]", spooled))
        async with audited(who(request), "export", details=told) as entry:
            entry.add(rows=await in_database(_written, wanted(asked), file, as_csv=as_csv))
        unfinished.pop_all()  # the response closes it
    return attachment(file, f"audit-{datetime.now(UTC):%Y-%m-%d}.{ending}", f"{kind}; charset=utf-8")


def wanted(asked: Mapping[str, Any]) -> trail.Wanted:
    """Return what is looked for, of what a page or a form asks."""
    return trail.Wanted(
        person=asked["who"] or "",
        action=asked["action"] or "",
        store=asked["store"] or "",
        thread=asked["thread"] or "",
        outcome=asked["outcome"] or "",
        since=asked["since"],
        until=asked["until"],
    )


def _written(of: trail.Wanted, file: IO[bytes], *, as_csv: bool) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    rows = trail.export(of, text, as_csv=as_csv)
    text.detach()
    file.seek(0)
    return rows


def _screen(asked: Mapping[str, Any]) -> AuditScreen:
    actions, older = trail.page(wanted(asked), asked["before"])
    given = {key: str(value) for key, value in asked.items() if value and key != "before"}
    if asked["thread"]:  # forms send it on, and would change line breaks
        given["thread"] = tilde.encode(asked["thread"])
    known = {key: slug for key, (slug, _) in stores.by_key().items()}
    return AuditScreen(
        lines=tuple(_line(action, known) for action in actions),
        asked=given,
        actions=trail.ACTIONS,
        outcomes=tuple(Outcome.values),
        stores=tuple(known.values()),
        filtered=bool(given),
        older=addresses.audit(**given, before=str(older)) if older else "",
        newest=addresses.audit(**given) if asked["before"] else "",
    )


def _line(action: trail.Action, known: Mapping[str, str]) -> ActionLine:
    begun, end = action.begun, action.end
    outcome = end.outcome if end else Outcome.BEGUN.value
    slug = known.get(begun.store, "")
    details = {**begun.details, **(end.details if end else {})}
    return ActionLine(
        action=begun.action,
        outcome=outcome,
        tone=TONES.get(outcome, ""),
        person=begun.person,
        roles=begun.roles,
        store=slug or begun.store.rpartition("/")[2],
        thread=begun.thread_id,
        thread_href=addresses.timeline(slug, begun.thread_id) if slug and begun.thread_id else "",
        details=trail.in_words(details.items()),
        href=addresses.deletion(id) if (id := details.get("deletion") or details.get("backup_of")) else "",
        at=exact(begun.at),
        ago=ago(begun.at, datetime.now(UTC)),
    )
