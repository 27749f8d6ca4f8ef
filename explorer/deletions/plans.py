"""Plans: what exactly would be deleted, kept under an address; and what has changed of it since."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db import connection, transaction
from django.utils import timezone

from checkpoints.selection import held
from checkpoints.stores.selection import TABLES
from explorer import stores
from explorer.deletions.errors import NothingToDelete
from explorer.models import Deletion, DeletionThread, Fate, Stage
from explorer.replays.requests import thread_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from checkpoints.selection import Held
    from checkpoints.stores import Location
    from explorer.people.roles import Person

CHUNK: Final = 5_000
NUL: Final = "Choose the other threads; that one is deleted by checkpoints.deleting, or by the saver."
COLUMNS: Final = (
    "deletion_id",
    "number",
    "thread_id",
    "thread_key",
    "checkpoints",
    "writes",
    "blobs",
    "bytes",
    "namespaces",
    "newest",
    "mark",
    "fate",
    "returned_rows",
)


@dataclass(frozen=True, slots=True)
class Changes:
    """How the threads of a plan differ from it now: those that are gone, and those that were written to."""

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed)


@transaction.atomic
def keep(
    location: Location,
    threads: Sequence[Held],
    found_by: Sequence[str],
    person: Person,
    *,
    seconds: float = 0.0,
    again_of: Deletion | None = None,
    query: str = "",
) -> Deletion:
    """Keep a plan to delete these threads. Raises NothingToDelete."""
    if not threads:
        raise NothingToDelete("No thread is meant.")
    if connection.vendor == "postgresql" and any("\0" in thread.thread_id for thread in threads):
        raise NothingToDelete("An id holds a NUL, which the explorer's own database cannot.", advice=NUL)
    times = [at for thread in threads if (at := thread.activity)]
    plan = Deletion(
        id=uuid.uuid4(),
        store=stores.key(location),
        store_name=location.name,
        found_by=list(found_by),
        query=query,
        planned_at=timezone.now(),
        planned_by=person.name,
        seconds=seconds,
        threads=len(threads),
        tables=_tables(threads),
        namespaces=sum(thread.namespaces for thread in threads),
        newest_at=max(times, default=None),
        again_of=again_of,
    )
    plan.save(force_insert=True)
    _keep_threads(plan, threads)
    return plan


def _tables(threads: Iterable[Held]) -> dict[str, dict[str, int]]:
    """Add up rows and bytes by table; a table without rows is left out."""
    sums = {table: {"rows": 0, "bytes": 0} for table in TABLES}
    for thread in threads:
        for table, rows, size in (
            ("checkpoints", thread.checkpoints, thread.checkpoint_bytes),
            ("writes", thread.writes, thread.write_bytes),
            ("blobs", thread.blobs, thread.blob_bytes),
        ):
            sums[table]["rows"] += rows
            sums[table]["bytes"] += size
    return {table: held for table, held in sums.items() if held["rows"]}


def _keep_threads(plan: Deletion, threads: Sequence[Held]) -> None:
    """Insert the rows as SQL: through models 50,000 of them take two seconds."""
    quote = connection.ops.quote_name
    names, places = ", ".join(map(quote, COLUMNS)), ", ".join(["%s"] * len(COLUMNS))
    sql = f"INSERT INTO {quote(DeletionThread._meta.db_table)} ({names}) VALUES ({places})"  # noqa: S608
    id = DeletionThread._meta.get_field("deletion").get_db_prep_save(plan.id, connection)
    with connection.cursor() as cursor:
        for start in range(0, len(threads), CHUNK):
            some = enumerate(threads[start : start + CHUNK], start + 1)
            cursor.executemany(sql, [(id, number, *_row(plan.store, thread)) for number, thread in some])


def _row(store: str, thread: Held) -> tuple[str | int, ...]:
    return (
        thread.thread_id,
        thread_key(store, thread.thread_id),
        thread.checkpoints,
        thread.writes,
        thread.blobs,
        thread.bytes,
        thread.namespaces,
        thread.newest,
        thread.mark,
        Fate.PLANNED.value,
        0,
    )


async def changes(location: Location, marks: Mapping[str, str]) -> Changes:
    """Look at the threads of a plan, given by id with their marks, and tell what has changed since."""
    now = await held(location, marks)
    return Changes(
        missing=tuple(id for id in marks if id not in now),
        changed=tuple(id for id, mark in marks.items() if id in now and now[id].mark != mark),
    )


def marks(plan: Deletion) -> dict[str, str]:
    """Return the marks of a plan's threads by id."""
    return dict(plan.of.values_list("thread_id", "mark"))


def others_at_work(plan: Deletion) -> Deletion | None:
    """Return a deletion that is under way and has a thread of this plan."""
    keys = DeletionThread.objects.filter(
        deletion__stage__in=(Stage.QUEUED, Stage.DELETING), fate__in=(Fate.PLANNED, Fate.BEGUN)
    ).exclude(deletion=plan)
    mine = plan.of.filter(thread_key__in=keys.values("thread_key")).values("thread_key")
    other = keys.filter(thread_key__in=mine).select_related("deletion").first() if mine.exists() else None
    return other.deletion if other else None


def deleted_before(plan: Deletion, missing: Iterable[str]) -> Deletion | None:
    """Return the deletion that a thread of these has gone by, if one of ours was it."""
    for thread_id in missing:
        gone = DeletionThread.objects.filter(
            thread_key=thread_key(plan.store, thread_id), fate=Fate.GONE
        ).exclude(deletion=plan)
        if last := gone.order_by("-fate_at").select_related("deletion").first():
            return last.deletion
    return None
