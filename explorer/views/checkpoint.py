"""One checkpoint: what changed against its parent, its state, its pending writes, its metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from checkpoints.inert import channel_spans
from checkpoints.outline import brief, parts
from checkpoints.outlook import waiting
from checkpoints.steps import Step, steps
from checkpoints.stores.siblings import REPLAY
from explorer import addresses, stores, writing
from explorer.bounds import CHANNELS, VERSIONS, WRITES, first
from explorer.changes import Change, changed, changes, is_own, unchanged
from explorer.database.threads import DatabaseUnavailable, in_database
from explorer.forks import note
from explorer.forms import CheckpointParameters
from explorer.models import Replay
from explorer.offload import offload
from explorer.pages import one, original
from explorer.people.roles import FORK, who
from explorer.reading import read
from explorer.rendering import screen, wants_fragment
from explorer.replays.requests import thread_key
from explorer.steps import rows, user_metadata
from explorer.stores import located
from explorer.summary import title
from explorer.tasks import TaskLine, task_line
from explorer.values import (
    LineView,
    ValueView,
    line_views,
    value_address,
    value_view,
)
from explorer.views import timeline as timeline_screen
from explorer.wording import exact, number, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse

    from checkpoints.inert import InertSerializer
    from checkpoints.snapshot import PendingWrite, Snapshot
    from checkpoints.stores import Location, Store
    from checkpoints.stores.records import CheckpointRow, TimelinePage
    from explorer.people.roles import Person


PATH_SHOWN = 300
REPLAYS = 5
REPLAY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of the state."""

    name: str
    size: str
    value: ValueView
    edit_href: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """One pending write."""

    idx: int
    channel: str
    size: str
    value: ValueView


@dataclass(frozen=True, slots=True)
class TaskWrites:
    """A task and all that it wrote."""

    task: TaskLine
    path: str
    writes: tuple[Write, ...]
    beyond: int


@dataclass(frozen=True, slots=True)
class CheckpointScreen:
    """What the page of one checkpoint shows."""

    id: str
    title: str
    step: str
    source: str
    exact: str
    iso: str
    size: str
    format: str
    problem: str
    metadata_problem: str
    parent: str
    parent_step: str
    parent_href: str
    parent_missing: bool
    next: str
    changes: tuple[Change, ...]
    unchanged: str
    tasks: tuple[TaskWrites, ...]
    writes: int
    channels: tuple[Channel, ...]
    control: tuple[Channel, ...]
    more_channels: int
    deltas: tuple[tuple[str, str], ...]
    user_metadata: tuple[tuple[str, str], ...]
    metadata: tuple[LineView, ...]
    versions: tuple[tuple[str, str, bool], ...]
    seen: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    snippet: str
    note: str
    copies: tuple[str, str, str] | None
    done: str
    former_href: str
    origin: tuple[str, str] | None
    is_head: bool
    writable: bool
    waits: bool
    ask_href: str
    replays: tuple[tuple[str, str], ...]
    fork_href: str
    edit_href: str
    compare_href: str
    raw_href: str
    download_href: str
    timeline_href: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where the checkpoint stands, what can be done with it, and what it copies.

    `done` is what has just been done, `former` the head that it took the place of, `origin` the thread that
    it came from.
    """

    head: bool
    writable: bool
    edits: bool
    density: str
    branch: str
    copies: Snapshot | None
    done: str
    former: str
    origin: str
    asked: tuple[str, ...]


DONE = {
    "in-place": "Forked. This is the head now: the next invoke continues from here.",
    "thread": "Forked into this new thread: an exact copy of all that led to this step.",
    "edit": "Forked with your values. This is the head now: the next invoke continues from here.",
}


async def checkpoint(request: HttpRequest, store: str, thread: str, checkpoint_id: str) -> HttpResponse:
    asked = CheckpointParameters.read(request.GET)
    ns = asked["ns"] or ""
    alone = wants_fragment(request)
    location = located(store)
    replays = await asked_of(location, thread, ns, checkpoint_id)
    shown, beside = await read(
        who(request),
        location,
        lambda opened: _load(
            opened, store, thread, ns, checkpoint_id, asked, alone=alone, person=who(request), replays=replays
        ),
    )
    context = {
        "checkpoint": shown,
        "screen": beside,
        "rows": rows(beside.steps, datetime.now(UTC)) if beside else "",
        "store": store,
        "thread": thread,
    }
    return screen(request, "checkpoint/page.html", "checkpoint/_inspector.html", context)


async def _load(
    opened: Store,
    store: str,
    thread: str,
    ns: str,
    id: str,
    asked: dict[str, Any],
    *,
    alone: bool,
    person: Person,
    replays: tuple[str, ...],
) -> tuple[CheckpointScreen, timeline_screen.TimelineScreen | None]:
    """Read a checkpoint, and unless it is to be shown alone the timeline around it."""
    page = await one(opened, thread, ns, id)
    place = Place(
        head=await opened.head(thread, ns) == id,
        writable=(writable := not await writing.refusal(opened)),
        edits=writable and person.may(FORK),
        density=asked["density"] or "",
        branch=asked["branch"] or "",
        copies=await original(opened, page),
        done=asked["done"] or "",
        former=asked["former"] or "",
        origin=asked["origin"] or "",
        asked=replays,
    )
    shown = await offload(page.weight, _screen, store, thread, ns, page, opened.serde, place)
    if alone:
        return shown, None
    return shown, await timeline_screen.load(opened, store, thread, {**asked, "ns": ns}, selected=id)


def _screen(
    store: str, thread: str, ns: str, page: TimelinePage, serde: InertSerializer, place: Place
) -> CheckpointScreen:
    step = steps(page, serde)[0]
    at, row = step.at, step.at.row
    sizes = _sizes(row)
    moved = changed(step)
    named, beyond = first(at.values.items(), CHANNELS)
    channels = [_channel(store, at, name, value, sizes, place) for name, value in named]
    return CheckpointScreen(
        id=at.id,
        title=title(step),
        step=number(at.step),
        source=at.source or "no source",
        exact=exact(at.written_at),
        iso=at.written_at.isoformat() if at.written_at else "",
        size=size(row.size),
        format=row.type or "NULL",
        problem=at.problem or "",
        metadata_problem=at.metadata_problem or "",
        parent=at.parent_id or "",
        parent_step=number(step.parent.step) if step.parent else "",
        parent_href=_parent_href(store, thread, ns, step, place),
        parent_missing=bool(at.parent_id) and step.parent is None,
        next=", ".join(step.next),
        changes=tuple(changes(step, moved)),
        unchanged=", ".join(first(unchanged(step, moved), CHANNELS)[0]),
        tasks=_tasks(store, step),
        writes=sum(len(task.writes) for task in step.ran),
        channels=tuple(channel for channel in channels if not is_own(channel.name, step)),
        control=tuple(replace(channel, edit_href="") for channel in channels if is_own(channel.name, step)),
        more_channels=beyond,
        deltas=tuple(
            (name, addresses.value(store, thread, at.id, ns=ns, part="delta", channel=name))
            for name in step.deltas
        ),
        user_metadata=user_metadata(step),
        metadata=_metadata(store, at),
        versions=_versions(step),
        seen=tuple((node, tuple(_texts(seen))) for node, seen in first(at.seen.items(), VERSIONS)[0]),
        snippet=snippet(thread, ns, at.id),
        note=note(at.metadata) if at.source == "fork" else "",
        copies=_copies(store, thread, ns, at, place),
        **_done(store, ns, at, place),
        is_head=place.head,
        writable=place.writable,
        waits=place.head and not ns and bool(waiting(step)),
        ask_href=addresses.ask(store, thread, at.id, ns=ns),
        replays=_replays(at, place),
        fork_href=addresses.fork(store, thread, at.id, ns=ns),
        edit_href=addresses.edit(store, thread, at.id, ns=ns),
        compare_href=addresses.compare(store, (thread, ns, at.id)),
        raw_href=addresses.raw(store, thread, at.id, ns=ns),
        download_href=addresses.raw(store, thread, at.id, ns=ns, download=True),
        timeline_href=addresses.timeline(store, thread, ns=ns, density=place.density, branch=place.branch),
    )


async def asked_of(location: Location, thread: str, ns: str, id: str) -> tuple[str, ...]:
    """Return the addresses of the newest replays of a checkpoint; none while nobody can tell."""
    try:
        return await in_database(_asked_of, stores.key(location), thread, ns, id)
    except DatabaseUnavailable:
        return ()


def _asked_of(key: str, thread: str, ns: str, id: str) -> tuple[str, ...]:
    of_thread = Replay.objects.filter(thread_key=thread_key(key, thread))
    found = of_thread.filter(checkpoint_ns=ns, checkpoint_id=id).values_list("id", flat=True)
    return tuple(map(addresses.replay, found[:REPLAYS]))


def _replays(at: Snapshot, place: Place) -> tuple[tuple[str, str], ...]:
    """Return what the page says of replays: the one that made the checkpoint, and those asked of it."""
    made = at.metadata.get(REPLAY)
    is_id = isinstance(made, str) and REPLAY_ID.fullmatch(made)
    made_by = [(addresses.replay(made), "made by")] if is_id else []
    return (*made_by, *((href, "replayed") for href in place.asked))


def _sizes(row: CheckpointRow) -> Mapping[str, int]:
    if row.channels is not None:
        return {channel.name: channel.size for channel in row.channels}
    spans = channel_spans(row.blob) if row.blob and row.type == "msgpack" else None
    return {name: len(raw) for name, raw in spans.items()} if spans else {}


def _channel(
    store: str, at: Snapshot, name: str, value: Any, sizes: Mapping[str, int], place: Place
) -> Channel:
    thread, ns = at.row.thread_id, at.row.checkpoint_ns
    address = value_address(store, thread, at.id, ns, channel=name)
    held = size(sizes[name]) if name in sizes else ""
    if not place.edits:
        return Channel(name, held, value_view(value, address))
    edit = partial(addresses.edit, store, thread, at.id, ns=ns, channel=name)
    return Channel(name, held, value_view(value, address, edit=edit), edit())


def _copies(store: str, thread: str, ns: str, at: Snapshot, place: Place) -> tuple[str, str, str] | None:
    """Return the step of what a fork copies, its address, and that of the comparison with it."""
    if (copied := place.copies) is None:
        return None
    return (
        number(copied.step),
        addresses.checkpoint(store, thread, copied.id, ns=ns, density=place.density, branch=place.branch),
        addresses.compare(store, (thread, ns, copied.id), (thread, ns, at.id)),
    )


def _done(store: str, ns: str, at: Snapshot, place: Place) -> dict[str, Any]:
    """Return what has just been done, where it is still so: anybody may write or keep such an address."""
    shown: dict[str, Any] = {"done": "", "former_href": "", "origin": None}
    thread = at.row.thread_id
    if place.done == "thread" and place.origin:
        shown["origin"] = (place.origin, addresses.checkpoint(store, place.origin, at.id, ns=ns))
    elif place.done == "thread" or not place.head or at.source != "fork":
        return shown
    elif place.former not in ("", at.id):
        shown["former_href"] = addresses.fork(store, thread, place.former, ns=ns)
    return {**shown, "done": DONE.get(place.done, "")}


def _parent_href(store: str, thread: str, ns: str, step: Step, place: Place) -> str:
    if step.parent is None:
        return ""
    return addresses.checkpoint(
        store, thread, step.parent.id, ns=ns, density=place.density, branch=place.branch
    )


def _tasks(store: str, step: Step) -> tuple[TaskWrites, ...]:
    """Show the tasks and their writes, `WRITES` in all."""
    left = WRITES
    shown = []
    for task in step.ran:
        writes, beyond = first(task.writes, left)
        left -= len(writes)
        shown.append(
            TaskWrites(
                task_line(task),
                task.path[:PATH_SHOWN],
                tuple(_write(store, step.at, w) for w in writes),
                beyond,
            )
        )
        if not left:
            break
    return tuple(shown)


def _write(store: str, at: Snapshot, write: PendingWrite) -> Write:
    row = write.row
    address = value_address(
        store, at.row.thread_id, at.id, at.row.checkpoint_ns, part="writes", task=row.task_id, idx=row.idx
    )
    return Write(row.idx, row.channel, size(row.size), value_view(write.value, address))


def _metadata(store: str, at: Snapshot) -> tuple[LineView, ...]:
    address = value_address(store, at.row.thread_id, at.id, at.row.checkpoint_ns, part="metadata")
    return line_views(parts(dict(at.metadata)), address)


def _versions(step: Step) -> tuple[tuple[str, str, bool], ...]:
    before = step.parent.versions if step.parent else {}
    shown, _ = first(step.at.versions.items(), VERSIONS)
    return tuple((name, _version(version), before.get(name) != version) for name, version in shown)


def _version(version: Any) -> str:
    return version if isinstance(version, str) else brief(version)


def _texts(seen: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _version(version)) for name, version in first(seen.items(), VERSIONS)[0]]


def snippet(thread: str, ns: str, id: str) -> str:
    """Return Python that addresses the checkpoint."""
    return (
        "config = {\n"
        '    "configurable": {\n'
        f'        "thread_id": {thread!r},\n'
        f'        "checkpoint_ns": {ns!r},\n'
        f'        "checkpoint_id": {id!r},\n'
        "    }\n"
        "}\n"
        "graph.get_state(config)"
    )
