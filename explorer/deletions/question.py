"""What is asked before threads are deleted: what to type, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.utils import timezone

from checkpoints.snapshot import id_time
from explorer import addresses, stores, writing
from explorer.database.threads import in_database
from explorer.deletions import plans
from explorer.deletions.screen import BUSY, NAMED
from explorer.models import Deletion, Replay, State
from explorer.people.roles import DEVELOPER, Permission
from explorer.reading import read

if TYPE_CHECKING:
    from explorer.people.roles import Person

TYPED: Final = 100  # characters of an id that one may be asked to type
# A large plan is not compared again as soon as it is made: whoever confirms it finds out, too.
FRESH: Final = timedelta(minutes=1)
FEW: Final = 1_000  # threads


@dataclass(frozen=True, slots=True)
class Question:
    """What the page of a plan asks: what to type, and what speaks against it."""

    typed: str
    label: str
    backup: bool
    may_backup: bool
    refusal: str
    busy: tuple[str, ...]
    replays: int
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    changed: tuple[str, ...] = ()
    changed_count: int = 0
    deleted_by: str = ""
    deleted_href: str = ""

    @property
    def void(self) -> bool:
        return bool(self.missing_count or self.changed_count)


async def question(person: Person, plan: Deletion, found: plans.Changes | None = None) -> Question:
    """Look at the store as it is now, and say what would be confirmed and what speaks against it."""
    typed, label = await in_database(expected, plan)
    busy, replays = await in_database(_at_work, plan)
    known = stores.by_key().get(plan.store)
    if known is None:
        refusal = f"{plan.store_name} is not open here."
        return Question(
            typed, label, backup=False, may_backup=False, refusal=refusal, busy=busy, replays=replays
        )
    fresh = timezone.now() - plan.planned_at < FRESH
    changes = found or (
        plans.Changes()
        if fresh and plan.threads > FEW
        else await plans.changes(known[1], await in_database(plans.marks, plan))
    )
    before = (
        await in_database(plans.deleted_before, plan, changes.missing[:NAMED]) if changes.missing else None
    )
    return Question(
        typed=typed,
        label=label,
        backup=person.local or DEVELOPER in person.roles,
        may_backup=person.may(Permission.EXPORT),
        refusal=await read(person, known[1], writing.refusal),
        busy=busy,
        replays=replays,
        missing=changes.missing[:NAMED],
        missing_count=len(changes.missing),
        changed=changes.changed[:NAMED],
        changed_count=len(changes.changed),
        deleted_by=before.confirmed_by or "somebody" if before else "",
        deleted_href=addresses.deletion(before.id) if before else "",
    )


def expected(plan: Deletion) -> tuple[str, str]:
    """Return what is to be typed and its name: the id of one thread that can be typed, or the number."""
    one = plan.only
    if one and one.thread_id.isprintable() and 0 < len(one.thread_id.strip()) <= TYPED:
        return one.thread_id, "the thread's id"
    return str(plan.threads), "the number of threads"


def _at_work(plan: Deletion) -> tuple[tuple[str, ...], int]:
    """Return the threads that were written a moment ago, and how many replays of them wait or run."""
    now = timezone.now()
    newest = plan.of.order_by("-newest").values_list("thread_id", "newest")[:NAMED]
    busy = tuple(id for id, at in newest if (time := id_time(at)) and now - time < BUSY)
    keys = plan.of.values("thread_key")
    return busy, Replay.objects.filter(thread_key__in=keys, state__in=(State.QUEUED, State.RUNNING)).count()
