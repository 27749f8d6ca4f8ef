"""The life of a deletion: confirmed, taken by one server, reported on, ended. Each is one transaction."""

from __future__ import annotations

import threading
import uuid
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from checkpoints.stores.selection import TABLES
from explorer import stores
from explorer.audit import Entry
from explorer.deletions.errors import NoDeletion, NotAsPlanned
from explorer.models import Deletion, Outcome, Stage
from explorer.people.roles import Person

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from typing import Any

    from django.db.models import QuerySet

PLANS_KEPT: Final = timedelta(days=7)
UNDER_WAY: Final = (Stage.QUEUED, Stage.DELETING, Stage.ERASING)
CONFIRMED: Final = "This deletion was confirmed already."
ITS_PAGE: Final = "Its page tells how far it is."
ENDED: Final = (Stage.DELETED, Stage.STOPPED, Stage.VOID)


class NotHeld(Exception):
    """Somebody else carries the deletion out by now."""


def found(id: uuid.UUID) -> Deletion:
    """Return a deletion. Raises NoDeletion."""
    try:
        return Deletion.objects.get(id=id)
    except Deletion.DoesNotExist:
        raise NoDeletion("There is no deletion at this address.") from None


@transaction.atomic
def confirm(plan: Deletion, person: Person, reason: str, *, backup: bool) -> None:
    """Let it begin, and note that in the audit: both or nothing.

    Raises NotAudited, and NotAsPlanned where somebody was faster.
    """
    changed = Deletion.objects.filter(id=plan.id, stage=Stage.PLANNED).update(
        stage=Stage.QUEUED,
        version=F("version") + 1,
        reason=reason,
        confirmed_at=timezone.now(),
        confirmed_by=person.name,
        confirmed_roles="local" if person.local else " ".join(person.roles),
        wants_backup=backup,
    )
    if not changed:
        raise NotAsPlanned(CONFIRMED, advice=ITS_PAGE)
    entry_of(plan, person, reason=reason, backup=backup).write(Outcome.BEGUN, durable=False)


def entry_of(deletion: Deletion, person: Person, **details: Any) -> Entry:
    """Return the entry of the audit for a deletion, whose id is that of the action."""
    thread = deletion.only
    told = {"deletion": str(deletion.id), "threads": deletion.threads, "rows": deletion.rows, **details}
    return Entry(
        person, "delete", deletion.store, thread.thread_id if thread else "", details=told, id=deletion.id
    )


def author(deletion: Deletion) -> Person:
    """Return who has confirmed a deletion, as they were then."""
    local = deletion.confirmed_roles == "local"
    return Person(
        deletion.confirmed_by, () if local else tuple(deletion.confirmed_roles.split()), local=local
    )


def stop(id: uuid.UUID, by: str) -> None:
    """Ask a deletion to stop after the transaction that is under way."""
    Deletion.objects.filter(id=id, stage__in=UNDER_WAY, stop_at=None).update(
        stop_at=timezone.now(), stopped_by=by, retry_at=None, version=F("version") + 1
    )


@transaction.atomic
def discard(id: uuid.UUID) -> None:
    """Forget a plan that nobody has confirmed."""
    plan = Deletion.objects.select_for_update().filter(id=id, stage=Stage.PLANNED).first()
    if plan:
        plan.delete()


def ask_to_erase(id: uuid.UUID, *, insist: bool) -> None:
    """Let what was deleted be erased as soon as a server comes to it."""
    Deletion.objects.filter(id=id, stage__in=(Stage.DELETED, Stage.STOPPED), erased_at=None).update(
        retry_at=timezone.now(), insist=insist, version=F("version") + 1
    )


def due(now: datetime) -> list[uuid.UUID]:
    """Return the deletions in stores of this server that wait for one to go on with them."""
    waiting = Q(stage__in=UNDER_WAY) & (Q(retry_at=None) | Q(retry_at__lte=now))
    again = Q(stage__in=ENDED) & (Q(retry_at__lte=now) | Q(watch_next__lte=now))
    mine = Deletion.objects.filter(waiting | again, _free(now), store__in=list(stores.by_key()))
    return list(mine.order_by("confirmed_at").values_list("id", flat=True))


def take(id: uuid.UUID) -> Deletion | None:
    """Take a deletion for this server, and return it with its attempt; None where another has it."""
    now = timezone.now()
    taken = Deletion.objects.filter(_free(now), id=id).update(attempt=uuid.uuid4(), lease_until=_lease(now))
    return Deletion.objects.get(id=id) if taken else None


def renew(held: Deletion, removed: int = 0) -> bool:
    """Renew the lease, count rows that went, and tell whether to stop. Raises NotHeld."""
    now = timezone.now()
    if not _rows(held).update(
        lease_until=_lease(now), removed=F("removed") + removed, version=F("version") + 1
    ):
        raise NotHeld
    return Deletion.objects.filter(id=held.id).exclude(stop_at=None).exists()


@contextmanager
def kept(held: Deletion) -> Iterator[None]:
    """Renew the lease beside this block, which may rebuild a file or compare 50,000 threads for a while."""
    done = threading.Event()

    def renew_it() -> None:
        try:
            while not done.wait(settings.EXPLORER_DELETION_LEASE_SECONDS / 3):
                with suppress(DatabaseError):  # locked; the next time
                    renew(held)
        except NotHeld:
            pass
        finally:
            connection.close()

    beside = threading.Thread(target=renew_it, name="lease", daemon=True)
    beside.start()
    try:
        yield
    finally:
        done.set()
        beside.join()


def save(held: Deletion, **values: Any) -> None:
    """Change what is kept of a deletion, by whoever holds it. Raises NotHeld."""
    if not _rows(held).update(version=F("version") + 1, **values):
        raise NotHeld
    for name, value in values.items():
        setattr(held, name, value)


def let_go(held: Deletion) -> None:
    """Give a deletion back, so that whoever comes next need not wait for the lease."""
    _rows(held).update(attempt=None, lease_until=None)


@transaction.atomic
def end(held: Deletion, stage: Stage, outcome: Outcome, told: Mapping[str, Any], **values: Any) -> None:
    """End it, and note in the audit how: both or nothing. Raises NotAudited, and NotHeld."""
    save(held, stage=stage, ended_at=timezone.now(), **values)
    entry = entry_of(held, author(held))
    entry.add(stage=stage.value, **_left(held), **told)
    entry.write(outcome, durable=False)


def _left(deletion: Deletion) -> dict[str, int]:
    left = deletion.left
    if left is None:
        return {}
    rows = sum(left[table] for table in TABLES)
    return {"threads_left": left["threads"], "rows_left": rows}


def forget_old_plans(now: datetime) -> None:
    """Forget the plans that nobody has confirmed for a week."""
    old = Deletion.objects.filter(stage=Stage.PLANNED, planned_at__lt=now - PLANS_KEPT)
    for id in list(old.values_list("id", flat=True)):
        discard(id)


def _rows(held: Deletion) -> QuerySet[Deletion]:
    return Deletion.objects.filter(id=held.id, attempt=held.attempt)


def _free(now: datetime) -> Q:
    return Q(lease_until=None) | Q(lease_until__lt=now)


def _lease(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.EXPLORER_DELETION_LEASE_SECONDS)
