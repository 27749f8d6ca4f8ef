"""One replay: how far it is, live; what came of it; and what can be done about it."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from django.http import StreamingHttpResponse
from django.template.loader import render_to_string
from django.utils import timezone

from checkpoints.errors import StoreError
from checkpoints.masking import MASKED
from checkpoints.snapshot import Snapshot
from checkpoints.stores.siblings import REPLAY
from explorer import addresses, stores, writing
from explorer.asking import subject
from explorer.audit import audited
from explorer.database.threads import in_database
from explorer.models import Replay, State
from explorer.offload import offload
from explorer.outcome import Outcome, Ran, outcome
from explorer.people.roles import who
from explorer.progress import LINES, ProgressLine, progress_lines
from explorer.reading import read
from explorer.rendering import screen
from explorer.replays import graphs, requests
from explorer.replays.errors import NoReplay
from explorer.replays.watching import watched
from explorer.views.ask import Question, as_json, questions
from explorer.wording import ago, duration, exact, number

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from django.http import HttpRequest, HttpResponse

    from checkpoints.stores import Store
    from explorer.people.roles import Person

RELATED = 20
LIVE = (State.QUEUED, State.RUNNING)
KINDS = {
    "replay": "Replay",
    "continue": "Continue",
    "resume": "Resume with an answer",
    "input": "Run with new input",
}
TONES = {"succeeded": "good", "interrupted": "wait", "failed": "bad", "lost": "bad", "running": "loop"}


@dataclass(frozen=True, slots=True)
class ReplayScreen:
    """What the page of a replay shows.

    `store` is empty where its store is not open here. `waits` says what a queued one waits for.
    """

    id: str
    href: str
    kind: str
    state: str
    tone: str
    live: bool
    version: int
    store: str
    store_name: str
    thread: str
    thread_href: str
    ns: str
    checkpoint_href: str
    step: str
    graph: str
    asked: str
    asked_ago: str
    author: str
    reason: str
    waits: str
    waits_href: str
    worker: str
    took: str
    since: str
    cancelling: bool
    cancelled_by: str
    limits: str
    step_limit: int
    seconds_limit: int
    configurable: str
    context: str
    given: tuple[tuple[str, str], ...]
    checkpoints: int
    made_href: str
    error: str
    traceback: str
    output: str
    lines: tuple[ProgressLine, ...]
    hidden: int
    last: tuple[ProgressLine, ...]
    dropped: int
    again_of: str
    again: tuple[str, ...]
    again_href: str
    continues: str
    continued: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Afterwards:
    """What can be told when a run has ended: both branches, and the questions that wait now.

    `answer_href` leads to the checkpoint that they wait at, and `basis` what was seen of it.
    """

    outcome: Outcome | None = None
    answer_href: str = ""
    basis: str = ""
    questions: tuple[Question, ...] = ()
    several: bool = False
    problem: str = ""
    id: UUID = field(default_factory=uuid4)


async def replay(request: HttpRequest, replay: UUID) -> HttpResponse:
    person = who(request)
    row, shown = await in_database(_screen, replay, masked=bool(person.masks))
    after = await _afterwards(person, row) if not shown.live and shown.store else Afterwards()
    context = {"replay": shown, "after": after, "store": shown.store or None}
    return screen(request, "replay/page.html", "replay/_replay.html", context)


async def events(request: HttpRequest, replay: UUID) -> StreamingHttpResponse:
    """Stream the progress as server-sent events, until the run has ended."""
    await in_database(found, replay)  # or 404
    masked = bool(who(request).masks)
    frames = watched(
        ("replay", replay, masked), lambda shown: in_database(_frame, replay, shown, masked=masked), _is_last
    )
    response = StreamingHttpResponse(_stream(frames), content_type="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep the events until there are many
    return response


async def cancel(request: HttpRequest, replay: UUID) -> HttpResponse:
    row = await in_database(found, replay)
    told, person = {"replay": replay}, who(request)
    async with audited(person, "cancel", store=row.store, thread=row.thread_id, details=told):
        writing.require_not_read_only()
        await in_database(requests.cancel, replay, person.signature)
    return writing.done(addresses.replay(replay))


async def _stream(frames: AsyncGenerator[str]) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    async with aclosing(frames):
        async for frame in frames:
            yield _event("progress", frame)
            if _is_last(frame):
                yield _event("ended", "ended")


def _event(name: str, text: str) -> str:
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"event: {name}\n{lines}\n"


LAST = "<!-- ended -->"


def _is_last(frame: str) -> bool:
    return frame.startswith(LAST)


def _frame(id: UUID, shown: str | None, *, masked: bool) -> str:
    """Render the progress, unless nothing has happened since what was shown."""
    replay = found(id)
    version = f'data-version="{replay.version}"'
    still = requests.state_of(replay) == State.RUNNING
    if shown is not None and version in shown[:400] and still:
        return shown
    text = render_to_string("replay/_progress.html", {"replay": _for(replay, masked=masked)})
    return text if _is_live(replay) else LAST + text


def found(id: UUID) -> Replay:
    """Return a replay. Raises NoReplay."""
    try:
        return Replay.objects.get(id=id)
    except Replay.DoesNotExist:
        raise NoReplay("There is no replay at this address.") from None


def _is_live(replay: Replay) -> bool:
    return requests.state_of(replay) in LIVE


def _screen(id: UUID, *, masked: bool) -> tuple[Replay, ReplayScreen]:
    replay = found(id)
    return replay, _for(replay, masked=masked)


def _for(replay: Replay, *, masked: bool) -> ReplayScreen:
    """Return the replay, without any text of the graph for whom some of its values are masked."""
    shown = _shown(replay)
    if not masked:
        return shown
    return replace(
        shown,
        given=(),
        configurable="",
        context="",
        error=shown.error and MASKED,
        traceback="",
        output="",
        lines=tuple(map(_silent, shown.lines)),
        last=tuple(map(_silent, shown.last)),
        again_href="",
    )


def _silent(line: ProgressLine) -> ProgressLine:
    return line if line.kind == "checkpoint" else replace(line, text="")


def _shown(replay: Replay) -> ReplayScreen:
    slug, location = stores.by_key().get(replay.store, ("", None))
    state = requests.state_of(replay)
    lines = progress_lines(replay.told.all(), slug, replay.thread_id, running=state == State.RUNNING)
    half = LINES // 2
    waits, waits_href = _waits(replay)
    end = replay.ended_at or timezone.now()
    return ReplayScreen(
        id=str(replay.id),
        href=addresses.replay(replay.id),
        kind=KINDS.get(replay.kind, replay.kind),
        state=state.value,
        tone=TONES.get(state.value, ""),
        live=state in LIVE,
        version=replay.version,
        store=slug,
        store_name=location.name if location else replay.store.rpartition("/")[2],
        thread=replay.thread_id,
        thread_href=addresses.timeline(slug, replay.thread_id) if slug else "",
        ns=replay.checkpoint_ns,
        checkpoint_href=addresses.checkpoint(
            slug, replay.thread_id, replay.checkpoint_id, ns=replay.checkpoint_ns
        )
        if slug
        else "",
        step=number(replay.step),
        graph=replay.graph,
        asked=exact(replay.asked_at),
        asked_ago=ago(replay.asked_at, timezone.now()),
        author=replay.author,
        reason=replay.reason,
        waits=waits,
        waits_href=waits_href,
        worker=replay.worker,
        took=duration(end - replay.started_at).removeprefix("+") if replay.started_at else "",
        since=replay.started_at.isoformat() if replay.started_at and state in LIVE else "",
        cancelling=replay.cancel_at is not None and state == State.RUNNING,
        cancelled_by=replay.cancelled_by,
        limits=f"{replay.step_limit:,} supersteps, {replay.seconds_limit:,} s",
        step_limit=replay.step_limit,
        seconds_limit=replay.seconds_limit,
        configurable=as_json(replay.given.get("configurable") or {}),
        context="" if replay.given.get("context") is None else as_json(replay.given["context"]),
        given=_given(replay),
        checkpoints=replay.checkpoints,
        made_href=addresses.checkpoint(slug, replay.thread_id, replay.made) if slug and replay.made else "",
        error=replay.error,
        traceback=replay.traceback,
        output=replay.output,
        lines=lines if len(lines) <= LINES else lines[:half],
        hidden=max(len(lines) - LINES, 0),
        last=() if len(lines) <= LINES else lines[-half:],
        dropped=replay.dropped,
        again_of=addresses.replay(replay.again_of_id) if replay.again_of_id else "",
        again=tuple(addresses.replay(each.id) for each in replay.asked_again.order_by("asked_at")[:RELATED]),
        again_href=addresses.ask(
            slug, replay.thread_id, replay.checkpoint_id, ns=replay.checkpoint_ns, again=replay.id
        )
        if slug
        else "",
        continues=_continues(replay),
        continued=_continued(replay),
    )


def _continues(replay: Replay) -> str:
    """Return the address of the replay that made the checkpoint which this one goes on from."""
    before = Replay.objects.filter(thread_key=replay.thread_key, made=replay.checkpoint_id).first()
    return addresses.replay(before.id) if before else ""


def _continued(replay: Replay) -> tuple[tuple[str, str], ...]:
    """Return what has gone on from where this one ended: what it was, and its address."""
    if not replay.made:
        return ()
    after = Replay.objects.filter(thread_key=replay.thread_key, checkpoint_id=replay.made)
    return tuple(
        (KINDS.get(each.kind, each.kind), addresses.replay(each.id))
        for each in after.order_by("asked_at")[:RELATED]
    )


def _given(replay: Replay) -> tuple[tuple[str, str], ...]:
    """Return what the graph is given, in words."""
    given = replay.given
    answers = given.get("answers") or {}
    named = [(f"answer to {id}" if id else "answer", value) for id, value in answers.items()]
    named += [(name, given[name]) for name in ("input", "configurable", "context") if given.get(name)]
    return tuple(
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in named
    )


def _waits(replay: Replay) -> tuple[str, str]:
    """Say what a queued replay waits for."""
    if replay.state != State.QUEUED:
        return "", ""
    same = Replay.objects.filter(thread_key=replay.thread_key, state=State.RUNNING).first()
    if same is not None and requests.state_of(same) == State.RUNNING:
        return "It waits for another replay of this thread to end.", addresses.replay(same.id)
    if not replay.graph:
        return "It names no graph, so it waits for a worker of your own to claim it.", ""
    offered = {line.name for line in graphs.offered(replay.store)}
    if replay.graph not in offered:
        return f"It waits for a worker that has the graph {replay.graph!r}: none is running now.", ""
    return "It waits for a worker to take it.", ""


async def _afterwards(person: Person, replay: Replay) -> Afterwards:
    """Read from the store what has come of a replay."""
    slug, location = stores.by_key()[replay.store]
    try:
        made, both = await read(person, location, lambda opened: _branches(opened, slug, replay))
        if replay.state != State.INTERRUPTED or (replay.checkpoint_ns and not made):
            return Afterwards(both)
        # One of several answers stores no checkpoint: the others are still asked for where they were.
        at = made or replay.checkpoint_id
        waits = await subject(person, location, replay.thread_id, "", at)
    except StoreError as error:
        return Afterwards(problem=str(error))
    asked = await offload(waits.page.weight, lambda: questions(waits.step))
    href = addresses.ask(slug, replay.thread_id, at, kind="resume")
    return Afterwards(both, href, waits.basis, asked, len(asked) > 1)


async def _branches(opened: Store, slug: str, replay: Replay) -> tuple[str, Outcome | None]:
    """Return the last checkpoint that the replay has made, and both branches if there is one."""
    made = replay.made or await _head_of(opened, replay)  # a worker of one's own need not tell
    if not made:
        return "", None
    start = (replay.given.get("parents") or {}).get("") if replay.checkpoint_ns else replay.checkpoint_id
    ran = Ran(str(replay.id), replay.thread_id, str(start), replay.former, made)
    return made, await outcome(opened, slug, ran)


async def _head_of(opened: Store, replay: Replay) -> str:
    """Return the head of a thread, if the replay has made it."""
    head = await opened.head(replay.thread_id, "") or ""
    for row in await opened.siblings(replay.thread_id, "", [head] if head else []):
        if Snapshot(row, opened.serde).metadata.get(REPLAY) == str(replay.id):
            return head
    return ""
