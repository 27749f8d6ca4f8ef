"""A deletion as its page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db.models import Count
from django.utils import timezone

from checkpoints.snapshot import id_time
from explorer import addresses, stores
from explorer.deletions import backups, life, watch
from explorer.models import Deletion, DeletionThread, Fate, Stage
from explorer.receipt import TABLES, not_covered
from explorer.wording import ago, count, duration, exact, size

if TYPE_CHECKING:
    from datetime import datetime

SHOWN: Final = 100  # threads of a page
BUSY: Final = timedelta(minutes=5)
NAMED: Final = 12
FATES: Final = {
    Fate.BEGUN: "under way",
    Fate.GONE: "deleted",
    Fate.CHANGED: "left whole: written to after the plan",
    Fate.MISSING: "gone already",
    Fate.LEFT: "came back while it was deleted",
}
TITLES: Final = {
    Stage.PLANNED: "Plan: delete",
    Stage.QUEUED: "Deleting",
    Stage.DELETING: "Deleting",
    Stage.ERASING: "Erasing",
    Stage.DELETED: "Deleted",
    Stage.STOPPED: "Stopped deleting",
    Stage.VOID: "Nothing deleted of",
}
INSISTED: Final = ("agent", "server")  # obstacles that one may overrule


@dataclass(frozen=True, slots=True)
class TableLine:
    """What was planned of one table, and what is left of it: empty until that was counted."""

    name: str
    rows: str
    size: str
    left: str


@dataclass(frozen=True, slots=True)
class ThreadLine:
    """One thread of a deletion."""

    id: str
    href: str
    rows: str
    size: str
    ago: str
    exact: str
    fate: str
    tone: str
    busy: bool
    returned: str


@dataclass(frozen=True, slots=True)
class Erased:
    """Whether the text is out of the files. `state` is empty as long as nobody has tried."""

    state: str = ""
    at: str = ""
    reason: str = ""
    advice: str = ""
    searched: str = ""
    again: str = ""
    may_insist: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: rows that went of those that were planned, and what is going on."""

    done: int
    total: int
    text: str
    waits: str
    advice: str
    stopping: bool


@dataclass(frozen=True, slots=True)
class DeletionScreen:
    """What the page of a deletion shows. `store` is empty where its store is not open here."""

    id: str
    href: str
    stage: str
    title: str
    live: bool
    store: str
    store_name: str
    key: str
    server: bool
    threads: int
    counted: str
    what: str
    found_by: tuple[str, ...]
    find_href: str
    fits: int
    planned: str
    planned_ago: str
    planned_by: str
    confirmed: str
    confirmed_by: str
    reason: str
    ended: str
    took: str
    stopped_by: str
    tables: tuple[TableLine, ...]
    rows: str
    size: str
    namespaces: str
    newest: str
    newest_ago: str
    left: bool
    fates: tuple[tuple[str, int], ...]
    lines: tuple[ThreadLine, ...]
    older: str
    first: str
    progress: Progress
    erased: Erased
    error: str
    replays: int
    watched: str
    returned: tuple[str, ...]
    returned_count: int
    again: bool
    erasing_now: bool
    backup: str
    backup_until: str
    backup_gone: str
    backup_here: bool
    not_covered: tuple[str, ...]
    again_of: str


def deletion_screen(found: Deletion, after: int = 0) -> DeletionScreen:
    """Describe a deletion, with its threads after a number."""
    now = timezone.now()
    slug, _ = stores.by_key().get(found.store, ("", None))
    rows = list(found.of.filter(number__gt=after)[: SHOWN + 1])
    returned = list(watch.returned(found).values_list("thread_id", flat=True)[: NAMED + 1])
    return DeletionScreen(
        id=str(found.id),
        href=addresses.deletion(found.id),
        stage=found.stage,
        title=TITLES[Stage(found.stage)],
        live=found.stage in life.UNDER_WAY,
        store=slug,
        store_name=found.store_name,
        key=found.store,
        server=found.store.startswith("postgresql"),
        threads=found.threads,
        counted=count(found.threads, "thread"),
        what=named(found),
        found_by=tuple(found.found_by),
        find_href=f"{addresses.find(slug)}?{found.query}" if slug and found.query else "",
        fits=(found.left or {}).get("fits", 0),
        planned=exact(found.planned_at),
        planned_ago=ago(found.planned_at, now),
        planned_by=found.planned_by,
        confirmed=exact(found.confirmed_at) if found.confirmed_at else "",
        confirmed_by=found.confirmed_by,
        reason=found.reason,
        ended=exact(found.ended_at) if found.ended_at else "",
        took=_took(found),
        stopped_by=found.stopped_by,
        tables=_tables(found),
        rows=count(found.rows, "row"),
        size=size(found.bytes),
        namespaces=f"{found.namespaces:,}",
        newest=exact(found.newest_at) if found.newest_at else "",
        newest_ago=ago(found.newest_at, now) if found.newest_at else "",
        left=found.left is not None,
        fates=_fates(found),
        lines=tuple(_line(slug, thread, now, found) for thread in rows[:SHOWN]),
        older=addresses.deletion(found.id, after=rows[SHOWN - 1].number) if len(rows) > SHOWN else "",
        first=addresses.deletion(found.id) if after else "",
        progress=progress(found),
        erased=_erased(found, now),
        error=found.error,
        replays=found.replays,
        watched=ago(found.watched_at, now) if found.watched_at else "",
        returned=tuple(returned[:NAMED]),
        returned_count=watch.returned(found).count() if len(returned) > NAMED else len(returned),
        again=found.stage in life.ENDED and watch.open_ones(found).exists(),
        erasing_now=found.stage in life.ENDED and bool(found.retry_at and found.retry_at <= now),
        backup=size(found.backup_bytes) if backups.is_kept(found, now) else "",
        backup_until=exact(found.backup_until) if found.backup_until else "",
        backup_gone=size(found.backup_bytes)
        if found.backup_bytes and not backups.is_kept(found, now)
        else "",
        backup_here=backups.path_of(found) is not None,
        not_covered=not_covered(found),
        again_of=addresses.deletion(found.again_of_id) if found.again_of_id else "",
    )


def _took(found: Deletion) -> str:
    if not (found.ended_at and found.started_at):
        return ""
    return duration(found.ended_at - found.started_at).lstrip("+")


def named(deletion: Deletion) -> str:
    """Name what is deleted: the thread, or how many."""
    one = deletion.only
    return (one.thread_id or "(empty id)") if one else count(deletion.threads, "thread")


def _tables(found: Deletion) -> tuple[TableLine, ...]:
    left = found.left or {}
    return tuple(
        TableLine(
            TABLES[table],
            f"{held['rows']:,}",
            size(held["bytes"]),
            f"{left.get(table, 0):,}" if found.left is not None else "",
        )
        for table, held in found.tables.items()
    )


def _fates(found: Deletion) -> tuple[tuple[str, int], ...]:
    """Count the threads by what has become of them, where not all of them went as planned."""
    if found.stage not in life.ENDED:
        return ()
    counts = dict(found.of.order_by().values_list("fate").annotate(Count("id")))
    words = {**FATES, Fate.BEGUN: "begun and stopped"}
    return tuple((words.get(fate, "not begun"), counts[fate]) for fate in Fate if fate in counts)


def _line(slug: str, thread: DeletionThread, now: datetime, found: Deletion) -> ThreadLine:
    at = id_time(thread.newest)
    fate = Fate(thread.fate)
    returned = thread.returned_rows
    return ThreadLine(
        id=thread.thread_id or "(empty id)",
        href=addresses.timeline(slug, thread.thread_id) if slug else "",
        rows=f"{thread.checkpoints + thread.writes + thread.blobs:,}",
        size=size(thread.bytes),
        ago=ago(at, now) if at else "",
        exact=exact(at),
        fate=FATES.get(fate, "" if found.stage == Stage.PLANNED else "not begun"),
        tone={"gone": "good", "left": "bad", "changed": "wait"}.get(fate.value, ""),
        busy=at is not None and now - at < BUSY,
        returned=f"{count(returned, 'row')} again" if returned else "",
    )


def progress(found: Deletion) -> Progress:
    """Tell how far a deletion is."""
    texts = {
        Stage.QUEUED: "making a backup" if found.wants_backup and not found.backup else "about to begin",
        Stage.DELETING: f"{min(found.removed, found.rows):,} of {found.rows:,} rows deleted",
        Stage.ERASING: "all rows are deleted; the file is rebuilt and searched",
    }
    return Progress(
        done=min(found.removed, found.rows),
        total=max(1, found.rows),
        text=texts.get(Stage(found.stage), ""),
        waits=found.error,
        advice=found.advice,
        stopping=found.stop_at is not None,
    )


def _erased(found: Deletion, now: datetime) -> Erased:
    told = found.erasure
    if not told:
        return Erased()
    searched = (
        f"{count(told['markers'], 'trace')} of it looked for in {size(told['bytes'])} of files, none found"
    )
    if found.erased_at:
        return Erased("erased", exact(found.erased_at), searched=searched)
    again = ""
    if found.retry_at:
        wait = found.retry_at - now
        again = f"in {duration(wait).lstrip('+')}" if found.retry_at > now else "now"
    return Erased(
        "out of reach" if told["obstacle"] == "server" else "not erased yet",
        reason=told["reason"],
        advice=told["advice"],
        again=again,
        may_insist=told["obstacle"] in INSISTED,
    )
