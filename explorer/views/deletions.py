"""All deletions, newest first: plans, what is under way, receipts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from explorer import addresses, stores
from explorer.database.threads import in_database
from explorer.deletions import watch
from explorer.deletions.screen import named
from explorer.finding import shown_to
from explorer.forms import DeletionsParameters
from explorer.models import Deletion, Stage
from explorer.people.roles import who
from explorer.rendering import screen
from explorer.wording import ago, count, exact, size

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from explorer.people.roles import Person

SHOWN = 50
TONES = {Stage.DELETED: "good", Stage.VOID: "wait", Stage.STOPPED: "wait"}


@dataclass(frozen=True, slots=True)
class DeletionLine:
    """One deletion of the list."""

    href: str
    what: str
    found: str
    stage: str
    tone: str
    erased: str
    erased_tone: str
    store: str
    rows: str
    by: str
    reason: str
    at: str
    ago: str
    returned: str


@dataclass(frozen=True, slots=True)
class DeletionsScreen:
    """What the list shows."""

    lines: tuple[DeletionLine, ...]
    store: str
    stores: tuple[str, ...]
    older: str
    newest: str


async def deletions(request: HttpRequest) -> HttpResponse:
    shown = await in_database(_screen, who(request), DeletionsParameters.read(request.GET))
    return screen(request, "deletions/page.html", "deletions/_list.html", {"screen_of": shown})


def _screen(person: Person, asked: dict[str, Any]) -> DeletionsScreen:
    slug = asked["store"] or ""
    known = stores.registered()
    rows = Deletion.objects.all()
    if slug:
        rows = rows.filter(store=stores.key(known[slug]) if slug in known else slug)
    if before := _found(asked["before"]):
        rows = rows.filter(
            Q(planned_at__lt=before.planned_at) | Q(planned_at=before.planned_at, id__lt=before.id)
        )
    page = list(rows[: SHOWN + 1])
    older = addresses.deletions(store=slug, before=str(page[SHOWN - 1].id)) if len(page) > SHOWN else ""
    return DeletionsScreen(
        lines=tuple(_line(person, each) for each in page[:SHOWN]),
        store=slug,
        stores=tuple(known),
        older=older,
        newest=addresses.deletions(store=slug) if before else "",
    )


def _found(text: str | None) -> Deletion | None:
    try:
        return Deletion.objects.filter(id=UUID(text)).first() if text else None
    except ValueError:
        return None


def _line(person: Person, each: Deletion) -> DeletionLine:
    at = each.confirmed_at or each.planned_at
    back = watch.returned(each).count() if each.stage == Stage.DELETED else 0
    state, tone = _erased(each)
    return DeletionLine(
        href=addresses.deletion(each.id),
        what=named(each),
        found="" if each.threads == 1 else ", ".join(shown_to(person, each.found_by))[:200],
        stage=each.stage,
        tone=TONES.get(Stage(each.stage), "loop" if each.stage != Stage.PLANNED else ""),
        erased=state,
        erased_tone=tone,
        store=each.store_name,
        rows=f"{count(each.rows, 'row')}, {size(each.bytes)}",
        by=each.confirmed_by or each.planned_by,
        reason=each.reason,
        at=exact(at),
        ago=ago(at, timezone.now()),
        returned=f"{count(back, 'thread')} came back" if back else "",
    )


def _erased(each: Deletion) -> tuple[str, str]:
    if each.erased_at:
        return "erased", "good"
    if not each.erasure:
        return "", ""
    return ("out of reach", "") if each.erasure["obstacle"] == "server" else ("not erased yet", "wait")
