"""The life of a replay: asked for, claimed by one worker, reported on, ended. Each is one transaction.

Who runs a replay holds it by its attempt and a lease that every report renews. A report of another attempt,
or after the end, changes nothing.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from explorer.models import Replay, State
from explorer.replays import events as events_of
from explorer.replays.queue import enqueue
from explorer.running.wording import clipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from django.db.models import QuerySet

    from explorer.replays.events import Event

TOLD = 5  # seconds after a limit that its worker has to tell of it; then it is asked to stop
WAITING = 100  # of a thread, that are looked through for the next one
OUTPUT = 16_000  # characters of what a graph printed; the last of it
ENDED = (State.SUCCEEDED, State.INTERRUPTED, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for. `head` is the head that it depends on, `former` the head of the thread."""

    store: str
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    step: int | None
    kind: str
    graph: str
    given: Mapping[str, Any] = field(repr=False)
    head: str = ""
    former: str = ""
    step_limit: int = 25
    seconds_limit: int = 600
    reason: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands with those who asked for it: whether it is still `held`, whether it shall `stop`."""

    held: bool
    stop: bool = False


def thread_key(store: str, thread: str) -> str:
    """Return what names a thread of a store in an index, however long its id is."""
    return sha256(f"{store}\0{thread}".encode("utf-8", "surrogatepass")).hexdigest()


@transaction.atomic
def ask(request: Request, again_of: Replay | None = None, id: uuid.UUID | None = None) -> Replay:
    """Keep a request and queue it. One that has come with the same `id` before is returned as it is."""
    if id and (known := Replay.objects.filter(id=id).first()):
        return known
    asked = Replay(
        id=id or uuid.uuid4(),
        store=request.store,
        thread_id=request.thread_id,
        thread_key=thread_key(request.store, request.thread_id),
        checkpoint_ns=request.checkpoint_ns,
        checkpoint_id=request.checkpoint_id,
        step=request.step,
        kind=request.kind,
        graph=request.graph,
        given_json=json.dumps(dict(request.given), ensure_ascii=False),
        head=request.head,
        former=request.former,
        step_limit=request.step_limit,
        seconds_limit=request.seconds_limit,
        reason=request.reason,
        author=request.author,
        asked_at=timezone.now(),
        again_of=again_of,
    )
    asked.save(force_insert=True)
    enqueue(asked)
    return asked


def claim(id: str | uuid.UUID, worker: str) -> Replay | None:
    """Take a queued replay for a worker, and return it with its attempt.

    None where it is not queued, or where another replay of its thread runs: it is queued anew when that ends.
    """
    sweep()
    try:
        with transaction.atomic():
            now = timezone.now()
            taken = Replay.objects.filter(id=id, state=State.QUEUED).update(
                state=State.RUNNING,
                version=F("version") + 1,
                attempt=uuid.uuid4(),
                worker=worker[:200],
                started_at=now,
                lease_until=_lease(now),
            )
    except IntegrityError:  # one_run_of_a_thread
        return None
    return Replay.objects.get(id=id) if taken else None


@transaction.atomic
def report(held: Replay, told: Iterable[Event] = (), output: str | None = None) -> Standing:
    """Keep what has happened in a run and renew its lease. Nothing is kept of a run that is not held."""
    replay = _held(held)
    if replay is None:
        return Standing(held=False)
    _keep(replay, told, output)
    replay.lease_until = _lease(timezone.now())
    replay.save()
    late = replay.started_at is not None and replay.started_at + _limit(replay) < timezone.now()
    return Standing(held=True, stop=late or replay.cancel_at is not None)


@transaction.atomic
def end(
    held: Replay, ended: Mapping[str, Any], told: Iterable[Event] = (), output: str | None = None
) -> bool:
    """End a run as its last event says, and let the next one of the thread begin. False: it is not held."""
    replay = _held(held)
    if replay is None:
        return False
    _keep(replay, told, output)
    state = ended.get("state")
    replay.state = State(state) if isinstance(state, str) and state in ENDED else State.FAILED
    replay.error = clipped(str(ended.get("error") or ""), events_of.ERROR)
    replay.traceback = clipped(str(ended.get("traceback") or ""), events_of.TRACEBACK)
    _ended(replay)
    return True


def cancel(id: uuid.UUID, by: str = "") -> None:
    """End a queued replay, and ask a running one to stop. One that has ended stays as it is."""
    now, by = timezone.now(), by[:100]
    with transaction.atomic():
        replay = Replay.objects.select_for_update().get(id=id)
        if replay.state == State.QUEUED:
            replay.state, replay.cancel_at, replay.cancelled_by = State.CANCELLED, now, by
            _ended(replay)
        elif replay.state == State.RUNNING and replay.cancel_at is None:
            replay.cancel_at, replay.cancelled_by = now, by
            replay.version += 1
            replay.save()


def sweep() -> None:
    """Give up the runs whose lease has ended, and let others of their threads begin."""
    late = Replay.objects.filter(state=State.RUNNING, lease_until__lt=timezone.now())
    _end_each(late, State.LOST)


def give_up(before: datetime, why: str) -> None:
    """Cancel the requests for a worker of ours that were asked for before a time and not begun."""
    late = Replay.objects.filter(state=State.QUEUED, asked_at__lt=before).exclude(graph="")
    _end_each(late, State.CANCELLED, why)


def state_of(replay: Replay) -> State:
    """Return the state to show: a run is lost as soon as its lease has ended, before anybody notes it."""
    return State.LOST if is_lost(replay) else State(replay.state)


def is_lost(replay: Replay) -> bool:
    """Tell whether a run's worker has not been heard of since its lease ended."""
    return (
        replay.state == State.RUNNING
        and replay.lease_until is not None
        and replay.lease_until < timezone.now()
    )


def _end_each(late: QuerySet[Replay], state: State, error: str = "") -> None:
    """End each of these that is still one of them when its row is locked."""
    for id in list(late.values_list("id", flat=True)):
        with transaction.atomic():
            if replay := late.select_for_update().filter(id=id).first():
                replay.state, replay.error = state, error
                _ended(replay)


def _held(held: Replay) -> Replay | None:
    """Lock the row of a run, if it is still that attempt's."""
    rows = Replay.objects.select_for_update().defer("given_json")  # which may be large, and never changes
    found = rows.filter(id=held.id, attempt=held.attempt, state=State.RUNNING).first()
    return None if found is None or is_lost(found) else found


def _keep(replay: Replay, told: Iterable[Event], output: str | None) -> None:
    kept = events_of.keep(replay, told)
    if output is not None:
        replay.output = clipped(output[-OUTPUT:], OUTPUT)
    if kept or output is not None:
        replay.version += 1


def _ended(replay: Replay) -> None:
    """Save the end of a replay, and queue the oldest of each graph of those that have waited for it."""
    replay.ended_at = timezone.now()
    replay.lease_until = None
    replay.version += 1
    replay.save()
    waiting = Replay.objects.filter(thread_key=replay.thread_key, state=State.QUEUED).exclude(graph="")
    next_ones: dict[str, Replay] = {}
    for one in waiting.order_by("asked_at", "id")[:WAITING]:
        next_ones.setdefault(one.graph, one)
    for one in next_ones.values():
        enqueue(one)


def _limit(replay: Replay) -> timedelta:
    return timedelta(seconds=replay.seconds_limit + TOLD)


def _lease(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.EXPLORER_LEASE_SECONDS)
