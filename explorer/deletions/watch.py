"""Looking again at what was deleted: an agent that was at work on a thread brings it back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db.models import Q
from django.utils import timezone

from explorer.models import Deletion, DeletionThread, Fate, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.db.models import QuerySet

    from checkpoints.selection import Held

FIRST: Final = timedelta(seconds=30)
LAST: Final = timedelta(days=30)
LONGEST: Final = timedelta(days=1)
WATCHED: Final = (Fate.GONE, Fate.LEFT)


def first() -> datetime:
    """Return when a deletion that has ended is looked at for the first time."""
    return timezone.now() + FIRST


def following(deletion: Deletion, now: datetime) -> datetime | None:
    """Return when it is looked at next: as long again as it was watched, at most a day; for a month."""
    since = now - (deletion.ended_at or now)
    return None if since > LAST else now + min(LONGEST, max(FIRST, since))


def watched(deletion: Deletion) -> list[str]:
    """Return the threads that were deleted, by id."""
    return list(deletion.of.filter(fate__in=WATCHED).values_list("thread_id", flat=True))


def keep(deletion: Deletion, now: Mapping[str, Held]) -> None:
    """Keep which threads came back, and how much there is of them."""
    back = Q(thread_id__in=list(now)) | Q(returned_rows__gt=0)
    threads = list(deletion.of.filter(back, fate__in=WATCHED))
    for thread in threads:
        held = now.get(thread.thread_id)
        thread.returned_rows = held.rows if held else 0
    DeletionThread.objects.bulk_update(threads, ["returned_rows"], batch_size=500)


def returned(deletion: Deletion) -> QuerySet[DeletionThread]:
    """Return the threads that were deleted and were there again at the last look."""
    return deletion.of.filter(returned_rows__gt=0)


def open_ones(deletion: Deletion) -> QuerySet[DeletionThread]:
    """Return the threads that may be planned anew: what was not deleted, and what is there again."""
    if deletion.stage == Stage.DELETED:
        return deletion.of.filter(Q(returned_rows__gt=0) | Q(fate=Fate.CHANGED))
    return deletion.of.exclude(fate__in=(Fate.MISSING, Fate.GONE))
