"""The audit, read: some of its actions for a page, and its rows as JSON lines or CSV."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import IO, TYPE_CHECKING, Any, Final

from django.db.models import Exists, OuterRef

from explorer import stores
from explorer.models import AuditEntry, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from django.db.models import QuerySet

ACTIONS: Final = (
    "fork",
    "edit",
    "replay",
    "cancel",
    "claim",
    "result",
    "delete",
    "erase",
    "stop",
    "discard",
    "drop-backup",
    "export",
    "login",
    "logout",
    "password",
    "user",
)
COLUMNS: Final = (
    "id",
    "action_id",
    "at",
    "person",
    "roles",
    "action",
    "store",
    "thread_id",
    "outcome",
    "details",
)
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
CHUNK: Final = 1_000
SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which actions are looked for. `store` is a slug or a key, days are UTC's and inclusive."""

    person: str = ""
    action: str = ""
    store: str = ""
    thread: str = ""
    outcome: str = ""
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """An action by its two rows; `end` is None where nobody has noted how it ended."""

    begun: AuditEntry
    end: AuditEntry | None


def page(wanted: Wanted, before: int | None) -> tuple[list[Action], int | None]:
    """Return actions, newest first, and the key of the next page if there is one."""
    found = _begun(wanted)
    if before is not None:
        found = found.filter(id__lt=before)
    rows = list(found.order_by("-id")[: SHOWN + 1])
    shown = rows[:SHOWN]
    ends = {
        row.action_id: row
        for row in AuditEntry.objects.filter(action_id__in=[row.action_id for row in shown]).exclude(
            outcome=Outcome.BEGUN
        )
    }
    actions = [Action(row, ends.get(row.action_id)) for row in shown]
    return actions, shown[-1].id if len(rows) > SHOWN else None


def export(wanted: Wanted, file: IO[str], *, as_csv: bool) -> int:
    """Write the rows of what is wanted, oldest first, and return how many these are."""
    actions = _begun(wanted).values("action_id")
    rows = AuditEntry.objects.filter(action_id__in=actions).order_by("id")
    written = 0
    writer = csv.writer(file) if as_csv else None
    if writer:
        writer.writerow(COLUMNS)
    for row in _each(rows):
        written += 1
        told = _told(row)
        if writer:
            writer.writerow([_cell(told[name]) for name in COLUMNS])
        else:
            file.write(f"{json.dumps(told)}\n")
    return written


def _begun(wanted: Wanted) -> QuerySet[AuditEntry]:
    found = AuditEntry.objects.filter(outcome=Outcome.BEGUN)
    exact = {"person": wanted.person, "action": wanted.action, "thread_id": wanted.thread}
    found = found.filter(**{name: value.replace("\0", "\ufffd") for name, value in exact.items() if value})
    if wanted.store:
        known = stores.registered().get(wanted.store)
        found = found.filter(store=stores.key(known) if known else wanted.store.replace("\0", "\ufffd"))
    if wanted.since:
        found = found.filter(at__gte=_midnight(wanted.since))
    if wanted.until and wanted.until < datetime.max.date():
        found = found.filter(at__lt=_midnight(wanted.until + timedelta(days=1)))
    ends = AuditEntry.objects.filter(action_id=OuterRef("action_id")).exclude(outcome=Outcome.BEGUN)
    if wanted.outcome == Outcome.BEGUN:
        return found.filter(~Exists(ends))
    return found.filter(Exists(ends.filter(outcome=wanted.outcome))) if wanted.outcome else found


def _each(rows: QuerySet[AuditEntry]) -> Iterator[AuditEntry]:
    """Yield rows by their key, a chunk at a time: a pooler loses cursors."""
    last = 0
    while chunk := list(rows.filter(id__gt=last)[:CHUNK]):
        yield from chunk
        last = chunk[-1].id


def _told(row: AuditEntry) -> dict[str, Any]:
    return {
        "id": row.id,
        "action_id": str(row.action_id),
        "at": row.at.isoformat(),
        "person": row.person,
        "roles": row.roles,
        "action": row.action,
        "store": row.store,
        "thread_id": row.thread_id,
        "outcome": row.outcome,
        "details": row.details,
    }


def _cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    if isinstance(value, int):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.lstrip(" \xa0").startswith(FORMULA) else text


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def in_words(details: Iterable[tuple[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Return details as names and short texts; what is empty is left out."""
    return tuple(
        (name.replace("_", " "), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in details
        if value not in ("", None, False)
    )
