"""Enforcing rules: idle threads are deleted as from the pages, with a receipt; the others are pruned."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from django.db.models import Count, Sum

from checkpoints import stores as open_stores
from checkpoints.deleting import pruning
from checkpoints.selection import held
from explorer import stores
from explorer.audit import recorded
from explorer.deletions import life, plans
from explorer.deletions.carrying import carry_out
from explorer.models import Deletion, DeletionThread, Fate
from explorer.people.roles import Person
from explorer.retention.outcome import Outcome, Part
from explorer.wording import count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.db.models import QuerySet

    from checkpoints.deleting import Pruner
    from checkpoints.selection import Held
    from checkpoints.stores import Location
    from explorer.retention.rules import Found, Rules

REASON: Final = "retention: checkpoint-explorer prune"
GROUP: Final = 100  # threads that are looked at once more before they are pruned
PAUSE: Final = 0.5  # seconds between two looks at a deletion that a server carries out


def enforce(location: Location, rules: Rules, found: Found, told: Callable[[str], None]) -> Outcome:
    """Delete and prune what was found, each noted in the audit. Raises StoreError, as NotAudited.

    What an earlier run that was killed has left of a deletion is finished first. Threads that were written to
    since they were found are left.
    """
    outcome = Outcome(location.name, dry_run=False)
    key = stores.key(location)
    for left in Deletion.objects.filter(store=key, stage__in=life.UNDER_WAY, reason=REASON):
        told("Finishing an earlier deletion")
        _carried(left)
    if found.idle:
        told(f"Deleting {count(len(found.idle), 'thread')}")
        _delete(location, rules, found, outcome)
    if found.pruned and not outcome.trouble:
        _prune(location, found, outcome, told)
        outcome.pruned.bytes = found.forecast.bytes
    return outcome


def _delete(location: Location, rules: Rules, found: Found, outcome: Outcome) -> None:
    person = Person.of_system_user()
    plan = plans.keep(location, found.idle, rules.words, person, seconds=found.seconds)
    if other := plans.others_at_work(plan):
        life.discard(plan.id)
        outcome.trouble = f"{other.confirmed_by or 'Somebody'} is deleting some of these threads right now."
        return
    life.confirm(plan, person, REASON, backup=False)
    done = _carried(plan)
    gone = done.of.filter(fate__in=(Fate.GONE, Fate.LEFT))
    outcome.deletion = str(done.id)
    outcome.deleted = _part(gone)
    outcome.changed += done.of.filter(fate__in=(Fate.CHANGED, Fate.LEFT)).count()
    if done.error and done.stage in life.UNDER_WAY:
        outcome.trouble = f"{done.error} {done.advice} Prune again to go on."
    if not done.erased_at and done.erasure.get("reason"):
        outcome.not_erased = f"Not erased yet: {done.erasure['reason']} {done.erasure['advice']}"


def _part(gone: QuerySet[DeletionThread]) -> Part:
    names = ("checkpoints", "writes", "blobs")
    sums = gone.aggregate(
        threads=Count("id"), bytes=Sum("bytes"), **{f"of_{name}": Sum(name) for name in names}
    )
    rows = Counter({name: sums[f"of_{name}"] or 0 for name in names})
    return Part(sums["threads"], rows, sums["bytes"] or 0)


def _carried(deletion: Deletion) -> Deletion:
    """Carry a deletion out, or wait for the server that does, until it has ended or cannot go on."""
    taken = None
    try:
        while (now := life.found(deletion.id)).stage in life.UNDER_WAY and not now.error:
            if taken := life.take(deletion.id):
                carry_out(taken)
            else:
                time.sleep(PAUSE)
    except KeyboardInterrupt:
        life.stop(deletion.id, Person.of_system_user().name)
        if taken:
            carry_out(taken)  # to its end: it notes what is left
        raise
    return now


def _prune(location: Location, found: Found, outcome: Outcome, told: Callable[[str], None]) -> None:
    details = {"threads": len(found.pruned), "rows": found.forecast.rows.total()}
    with (
        recorded(Person.of_system_user(), "prune", store=stores.key(location), details=details) as entry,
        asyncio.Runner() as loop,
        pruning(location) as pruner,
    ):
        try:
            for start in range(0, len(found.pruned), GROUP):
                told(f"Pruning {start:,} of {count(len(found.pruned), 'thread')}")
                some = found.pruned[start : start + GROUP]
                now = loop.run(held(location, [thread.thread_id for thread in some]))
                _prune_group(pruner, some, now, outcome)
        finally:
            entry.add(threads=outcome.pruned.threads, rows=outcome.pruned.rows.total())
            loop.run(open_stores.close())


def _prune_group(pruner: Pruner, threads: Sequence[Held], now: Mapping[str, Held], outcome: Outcome) -> None:
    """Prune those of some threads that are as they were found."""
    same = [
        each.thread_id for each in threads if each.thread_id in now and now[each.thread_id].mark == each.mark
    ]
    outcome.changed += sum(each.thread_id in now for each in threads) - len(same)
    pruned = pruner.prune(same)
    outcome.pruned.threads += pruned.threads
    outcome.pruned.add(pruned.rows)
    outcome.refused |= {thread_id: error.sentence for thread_id, error in pruned.refused.items()}
