"""Carrying a deletion out: a few threads at a time, so that a crash leaves nothing unclear."""

from __future__ import annotations

import asyncio
import os
import time
from base64 import b16decode, b16encode
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import connection, transaction
from django.utils import timezone

from checkpoints import stores as open_stores
from checkpoints.bundling import write_bundle
from checkpoints.deleting import Erasure, deleting, erase
from checkpoints.errors import StoreError
from checkpoints.selection import held, select
from explorer import stores
from explorer.deletions import backups, life, watch
from explorer.finding import of_query
from explorer.models import Deletion, DeletionThread, Fate, Outcome, Replay, Stage, State
from explorer.replays import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from checkpoints.deleting import Deleter
    from checkpoints.selection import Held

GROUP: Final = 100  # threads that are begun together
HEAVY: Final = 2_000  # checkpoints of a group
TELL: Final = 0.5  # seconds between two looks whether to stop
SAMPLES: Final = 10  # threads whose rows are looked for when all is erased
MARKERS: Final = 4  # of each
RETRY: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 3600))
AGENTS: Final = 2  # the least of these for an agent that has been kept waiting
TRIES: Final = 40
AUTOMATIC: Final = frozenset({"reader", "locked", "agent", "room", "found", "failed"})
STOPPABLE: Final = (Stage.QUEUED, Stage.DELETING)
OPEN: Final = (Fate.BEGUN, Fate.PLANNED)
STAYED: Final = "Rows of some threads came back while they were deleted, or their owner keeps them."
STAYED_ADVICE: Final = "End those conversations, then plan what is still there."
FINE: Final = {"error": "", "advice": ""}
NOTHING: Final = "Nothing was deleted: every thread was gone already, or was written to after the plan."


class Stopped(Exception):
    """Somebody has asked the deletion to stop."""


class Leaving(Exception):
    """The server ends; whoever comes next goes on."""


class Carrier:
    """One deletion, held by this server."""

    def __init__(self, deletion: Deletion, loop: asyncio.Runner, leaving: Callable[[], bool]) -> None:
        self._deletion = deletion
        self._loop = loop
        self._leaving = leaving
        self._location = stores.by_key()[deletion.store][1]
        self._told = 0.0
        self._removed = 0

    def go_on(self) -> None:
        """Do what is next, until it has ended or has to wait. Raises NotHeld, DatabaseError."""
        try:
            try:
                self._do_what_is_next()
            except Stopped:
                self._stop()
        except StoreError as error:
            self._wait(error)

    def _do_what_is_next(self) -> None:
        deletion = self._deletion
        if deletion.stop_at and deletion.stage in STOPPABLE:  # before a store is asked that may be away
            raise Stopped
        if deletion.stage == Stage.QUEUED:
            self._prepare()
        if deletion.stage == Stage.DELETING:
            self._delete()
        if deletion.stage == Stage.ERASING:
            self._erase()
        elif deletion.stage in life.ENDED:
            self._afterwards()

    def _stop(self) -> None:
        """End it before its end. Where the store is away, nobody can say what is left."""
        deletion = self._deletion
        with suppress(StoreError):
            there = self._count_left()
            begun = deletion.of.filter(fate=Fate.BEGUN)
            self._decide(Fate.GONE, [each for each in begun if each.thread_id not in there])
        told = {"stopped_by": deletion.stopped_by}
        life.end(deletion, Stage.STOPPED, Outcome.DONE, told, retry_at=None, watch_next=watch.first(), **FINE)

    def _prepare(self) -> None:
        """Make the backup that was asked for, then begin."""
        deletion = self._deletion
        self._look()
        if deletion.wants_backup and not deletion.backup:
            there = self._held(deletion.of.values_list("thread_id", flat=True))
            path = backups.place(deletion)
            made = write_bundle(self._location, there, path, progress=lambda progress: self._look())
            life.save(
                deletion,
                backup=os.path.basename(path),
                backup_bytes=made.bytes,
                backup_digest=made.digest,
                backup_until=backups.until(),
            )
        life.save(deletion, stage=Stage.DELETING, started_at=timezone.now(), tries=0, **FINE)

    def _delete(self) -> None:
        with deleting(self._location) as deleter:
            while threads := self._next():
                self._delete_group(deleter, threads)
        fates = set(self._deletion.of.values_list("fate", flat=True))
        self._count_left()
        if fates <= {Fate.CHANGED, Fate.MISSING}:
            life.end(self._deletion, Stage.VOID, Outcome.REFUSED, {}, error=NOTHING, retry_at=None)
        else:
            life.save(self._deletion, stage=Stage.ERASING, retry_at=None, tries=0, **FINE)

    def _next(self) -> list[DeletionThread]:
        """Return the next few threads: those that were begun, else one at least and not too many."""
        group: list[DeletionThread] = []
        weight = 0
        begun, planned = (self._deletion.of.filter(fate=fate).order_by("number") for fate in OPEN)
        for thread in begun[:GROUP] or planned[:GROUP]:
            weight += thread.checkpoints
            if group and weight > HEAVY:
                break
            group.append(thread)
        return group

    def _delete_group(self, deleter: Deleter, threads: Sequence[DeletionThread]) -> None:
        """Delete some threads. What was begun is finished, whatever has changed since."""
        self._look()
        now = self._held(thread.thread_id for thread in threads)
        begun = [thread for thread in threads if thread.fate == Fate.BEGUN]
        fresh = [thread for thread in threads if thread.fate == Fate.PLANNED]
        taken = self._begun_by_others(fresh)
        there = [each for each in fresh if each.thread_id in now and each.thread_key not in taken]
        as_planned = [each for each in there if now[each.thread_id].mark == each.mark]
        self._decide(Fate.MISSING, [each for each in fresh if each not in there])
        self._decide(Fate.CHANGED, [each for each in there if each not in as_planned])
        self._mark(deleter, as_planned)
        self._decide(Fate.BEGUN, as_planned)
        wanted = [*begun, *as_planned]
        if not wanted:
            return
        self._look(now=True)  # whoever was frozen meanwhile deletes nothing that came since
        removed = deleter.delete([each.thread_id for each in wanted], self._count)
        self._forget_replays([Fate.BEGUN])
        self._decide(Fate.LEFT, [each for each in wanted if each.thread_id in removed.left])
        self._decide(Fate.GONE, [each for each in wanted if each.thread_id not in removed.left])

    def _decide(self, fate: Fate, threads: Sequence[DeletionThread]) -> None:
        """Note what has become of threads, as long as this server holds the deletion. Raises NotHeld."""
        with transaction.atomic():
            life.renew(self._deletion)
            changed = DeletionThread.objects.filter(id__in=[thread.id for thread in threads])
            changed.update(fate=fate, fate_at=timezone.now())

    def _begun_by_others(self, threads: Sequence[DeletionThread]) -> set[str]:
        """Return the keys of those threads that another deletion has begun with and will finish."""
        keys = [thread.thread_key for thread in threads]
        begun = DeletionThread.objects.filter(
            thread_key__in=keys, fate=Fate.BEGUN, deletion__stage=Stage.DELETING
        )
        return set(begun.exclude(deletion=self._deletion).values_list("thread_key", flat=True))

    def _mark(self, deleter: Deleter, threads: Sequence[DeletionThread]) -> None:
        """Keep by what some of the rows are found in files, before they go."""
        every = max(1, self._deletion.threads // SAMPLES)
        found = [
            b16encode(marker).decode()
            for thread in threads
            if (thread.number - 1) % every == 0
            for marker in deleter.markers(thread.thread_id)[:MARKERS]
        ]
        if found:
            life.save(self._deletion, markers=[*self._deletion.markers, *found])

    def _forget_replays(self, fates: Sequence[Fate]) -> None:
        """Delete what the explorer itself keeps of threads: what replays were given and have told.

        Those that run are asked to stop, and go at a later look.
        """
        keys = self._deletion.of.filter(fate__in=fates).values("thread_key")
        known = Replay.objects.filter(thread_key__in=keys)
        for running in known.filter(state=State.RUNNING, cancel_at=None):
            requests.cancel(running.id, by="the deletion of its thread")
        gone = known.exclude(state=State.RUNNING)
        if count := gone.count():
            gone.delete()
            if connection.vendor == "sqlite":  # whose log would keep it for as long as a server has it open
                with connection.cursor() as cursor:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            life.save(self._deletion, replays=self._deletion.replays + count)

    def _erase(self) -> None:
        """Try to erase; where that has to wait, the deletion has ended all the same and it is tried again."""
        result = self._try_to_erase()
        told = {"erased": result.done, "obstacle": result.obstacle}
        values = {**self._told_of_erasure(result), **FINE, "watch_next": watch.first()}
        life.end(self._deletion, Stage.DELETED, Outcome.DONE, told, **values)

    def _try_to_erase(self) -> Erasure:
        self._look(now=True)
        markers = [b16decode(marker) for marker in self._deletion.markers]
        try:
            result = erase(self._location, markers, insist=self._deletion.insist)
        except StoreError as error:  # the rows are gone all the same
            return Erasure("failed", error.sentence, error.advice)
        if watch.returned(self._deletion).filter(fate=Fate.LEFT).exists():
            return replace(result, obstacle="elsewhere", reason=STAYED, advice=STAYED_ADVICE)
        return result

    def _told_of_erasure(self, result: Erasure) -> dict[str, object]:
        deletion = self._deletion
        now = timezone.now()
        again = result.obstacle in AUTOMATIC and deletion.tries < TRIES
        return {
            "erasure": asdict(result),
            "erased_at": now if result.done else None,
            "markers": [] if result.done or result.obstacle == "server" else deletion.markers,
            "tries": deletion.tries + 1,
            "insist": False,
            "retry_at": now + _pause(deletion.tries + AGENTS * (result.obstacle == "agent"))
            if again
            else None,
        }

    def _afterwards(self) -> None:
        """Do what is due after the end: erase at last, look whether a thread came back."""
        deletion, now = self._deletion, timezone.now()
        if deletion.retry_at and deletion.retry_at <= now and not deletion.erased_at:
            life.save(deletion, **self._told_of_erasure(self._try_to_erase()))
        if deletion.watch_next and deletion.watch_next <= now:
            watch.keep(deletion, self._held(watch.watched(deletion)))
            self._forget_replays(watch.WATCHED)
            life.save(deletion, watched_at=now, watch_next=watch.following(deletion, now))

    def _wait(self, error: StoreError) -> None:
        """Keep what is in the way, and try again later; after many times only when somebody asks."""
        deletion, now = self._deletion, timezone.now()
        again = now + _pause(deletion.tries)
        values: dict[str, object] = {"tries": deletion.tries + 1}
        if deletion.stage not in life.ENDED:
            values |= {"error": error.sentence, "advice": error.advice, "retry_at": again}
        else:
            values["watch_next"] = watch.following(deletion, now)
        life.save(deletion, **values)

    def _held(self, thread_ids: Iterable[str]) -> dict[str, Held]:
        return self._loop.run(held(self._location, list(thread_ids)))

    def _count_left(self) -> Mapping[str, Held]:
        """Count again what the store has of all threads of the plan, by table: what the receipt shows.

        Return what it has, by thread.
        """
        now = self._held(self._deletion.of.values_list("thread_id", flat=True))
        left = {
            "threads": len(now),
            "checkpoints": sum(each.checkpoints for each in now.values()),
            "writes": sum(each.writes for each in now.values()),
            "blobs": sum(each.blobs for each in now.values()),
        }
        watch.keep(self._deletion, now)
        life.save(self._deletion, left={**left, "fits": self._fitting(now)})
        return now

    def _fitting(self, left: Mapping[str, Held]) -> int:
        """Count the threads that fit what was looked for and are not in the plan: they came meanwhile."""
        asked = of_query(life.author(self._deletion), self._deletion.query)
        if asked is None:
            return 0
        found = self._loop.run(select(self._location, asked.criteria))
        return sum(thread.thread_id not in left for thread in found.threads)

    def _count(self, rows: Mapping[str, int]) -> None:
        self._removed += sum(rows.values())
        self._look()

    def _look(self, *, now: bool = False) -> None:
        """Renew the lease, and raise Stopped where that was asked for."""
        if self._leaving():
            raise Leaving
        if not now and time.monotonic() - self._told < TELL:
            return
        self._told = time.monotonic()
        stop = life.renew(self._deletion, self._removed)
        self._removed = 0
        if stop and self._deletion.stage in STOPPABLE:
            raise Stopped


def _pause(tries: int) -> timedelta:
    return RETRY[min(tries, len(RETRY) - 1)]


def carry_out(deletion: Deletion, leaving: Callable[[], bool] = lambda: False) -> None:
    """Go on with a deletion that this server has taken, then let go of it. It may be `leaving` meanwhile."""
    with asyncio.Runner() as loop, suppress(life.NotHeld):
        try:
            with life.kept(deletion), suppress(Leaving):
                Carrier(deletion, loop, leaving).go_on()
            life.let_go(deletion)
        finally:
            loop.run(open_stores.close())
