"""Two checkpoints of a store side by side: what differs between them, across branches and threads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from checkpoints.difference import changed_channels, difference
from checkpoints.errors import CheckpointNotFound
from checkpoints.inert.packing import fingerprint
from checkpoints.outline import brief
from checkpoints.steps import steps
from checkpoints.stores import read
from explorer import addresses
from explorer.bounds import CHANGES, WRITES, first
from explorer.changes import Change, between, is_own, signed
from explorer.forks import note
from explorer.forms import CompareParameters
from explorer.offload import offload
from explorer.rendering import screen
from explorer.stores import located
from explorer.summary import summary, title
from explorer.tasks import counted, task_line
from explorer.views.checkpoint import one
from explorer.wording import ago, exact, number, short

if TYPE_CHECKING:
    from collections.abc import Hashable

    from django.http import HttpRequest, HttpResponse

    from checkpoints.branches import Tree
    from checkpoints.steps import Step
    from checkpoints.stores import Store

STEPS_SHOWN = 50
LINES_SHOWN = 200
Place = tuple[str, str, str]
"""Thread, namespace and id of a checkpoint."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two checkpoints."""

    thread: str
    ns: str
    id: str
    short_id: str
    step: str
    title: str
    source: str
    note: str
    exact: str
    next: str
    problem: str
    href: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two checkpoints; `relation` says how they are related, where that is known."""

    left: Side
    right: Side
    swap_href: str
    again_href: str
    relation: str
    changes: tuple[Change, ...]
    beyond: int
    unchanged: str
    metadata: tuple[tuple[str, str, str], ...]
    writes: tuple[tuple[str, str, str], ...]
    same_writes: int
    control: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint that can be compared with the first."""

    step: str
    title: str
    source: str
    summary: str
    ago: str
    exact: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True)
class Chooser:
    """The first checkpoint, and those of its namespace to compare it with."""

    left: Side
    candidates: tuple[Candidate, ...]
    older_href: str


async def compare(request: HttpRequest, store: str) -> HttpResponse:
    asked = CompareParameters.read(request.GET)
    left = (asked["thread"] or "", asked["ns"] or "", asked["id"] or "")
    context: dict[str, Any] = {"store": store, "thread": left[0], "asked": asked}
    if asked["with_thread"] is None or not (asked["with_thread"] or asked["with_id"]):
        context["chooser"] = await read(located(store), lambda opened: _choices(opened, store, left, asked))
    else:
        right = (asked["with_thread"] or left[0], asked["with_ns"] or "", asked["with_id"] or "")
        context["comparison"] = await read(located(store), lambda opened: _load(opened, store, left, right))
    return screen(request, "compare/page.html", "compare/_compare.html", context)


async def _load(opened: Store, store: str, left: Place, right: Place) -> Comparison:
    before, after = await _step(opened, left), await _step(opened, right)
    places = (_place(before), _place(after))
    tree = None
    if places[0][:2] == places[1][:2]:
        tree = (await opened.timeline(*places[0][:2], limit=1)).tree
    weight = before.at.row.size + after.at.row.size
    return await offload(weight, _comparison, store, before, after, tree)


async def _step(opened: Store, place: Place) -> Step:
    """Read a checkpoint; without an id, the head of the namespace."""
    thread, ns, id = place
    id = id or await opened.head(thread, ns) or ""
    if not id:
        raise CheckpointNotFound("This thread has no checkpoint in this namespace.")
    return steps(await one(opened, thread, ns, id), opened.serde)[0]


def _place(step: Step) -> Place:
    row = step.at.row
    return row.thread_id, row.checkpoint_ns, row.checkpoint_id


def _comparison(store: str, before: Step, after: Step, tree: Tree | None) -> Comparison:
    old, new = before.at.values, after.at.values
    moved = changed_channels(old, new)
    own = [name for name in moved if is_own(name, after) or is_own(name, before)]
    state = [name for name in moved if name not in own]
    shown, beyond = first(state, CHANGES)
    writes, same = _writes(before, after)
    return Comparison(
        left=_side(store, before),
        right=_side(store, after),
        swap_href=addresses.compare(store, _place(after), _place(before)),
        again_href=addresses.compare(store, _place(before)),
        relation=_relation(before, after, tree),
        changes=tuple(between(old, new, shown)),
        beyond=beyond,
        unchanged=", ".join(name for name in new if name not in moved and not is_own(name, after)),
        metadata=signed(islice(difference(dict(before.at.metadata), dict(after.at.metadata)), LINES_SHOWN)),
        writes=writes,
        same_writes=same,
        control=", ".join(own),
    )


def _side(store: str, step: Step) -> Side:
    at = step.at
    thread, ns, id = _place(step)
    return Side(
        thread=thread,
        ns=ns,
        id=id,
        short_id=short(id),
        step=number(at.step),
        title=title(step),
        source=at.source or "no source",
        note=note(at.metadata) if at.source == "fork" else "",
        exact=exact(at.written_at),
        next=", ".join(counted(step.next)),
        problem=at.problem or "",
        href=addresses.checkpoint(store, thread, id, ns=ns),
    )


def _relation(before: Step, after: Step, tree: Tree | None) -> str:
    """Say how two checkpoints of one namespace are related, as far as its tree is known."""
    if before.at.id == after.at.id and tree is not None:
        return "Both are the same checkpoint."
    if tree is None:
        return ""
    older, newer = tree.chain(before.at.id), tree.chain(after.at.id)
    if before.at.id in newer:
        return f"The second comes {_steps(newer.index(before.at.id))} after the first, on one branch."
    if after.at.id in older:
        return f"The second comes {_steps(older.index(after.at.id))} before the first, on one branch."
    common = next((id for id in older if id in set(newer)), None)
    if common is None:
        return ""
    apart = older.index(common), newer.index(common)
    return f"They are of two branches, {apart[0]} and {apart[1]} checkpoints after they parted."


def _steps(apart: int) -> str:
    return "one step" if apart == 1 else f"{apart:,} steps"


def _writes(before: Step, after: Step) -> tuple[tuple[tuple[str, str, str], ...], int]:
    """Return the pending writes that only one of the two has, and how many both have."""
    old, new = _words(before), _words(after)
    lines = [("−", "", text) for key, text in old.items() if key not in new]
    lines += [("+", "", text) for key, text in new.items() if key not in old]
    return tuple(first(lines, WRITES)[0]), len(old.keys() & new.keys())


def _words(step: Step) -> dict[Hashable, str]:
    """Return the pending writes in words, by what tells one from another: node, channel and value."""
    found: dict[Hashable, str] = {}
    for task in step.ran:
        node = task_line(task).node
        for write in task.writes:
            text = f"{node} → {write.channel}: {brief(write.value, 300)}"
            found[task.node or task.id, write.channel, fingerprint(write.value)] = text
    return found


async def _choices(opened: Store, store: str, left: Place, asked: dict[str, Any]) -> Chooser:
    step = await _step(opened, left)
    thread, ns, id = _place(step)
    page = await opened.timeline(thread, ns, before=asked["before"] or None, limit=STEPS_SHOWN)
    now = datetime.now(UTC)
    lines = tuple(_candidate(store, (thread, ns, id), other, now) for other in steps(page, opened.serde))
    older = ""
    if page.older:
        older = f"{addresses.compare(store, (thread, ns, id))}&{addresses.query(before=page.older)}"
    return Chooser(_side(store, step), lines, older)


def _candidate(store: str, left: Place, step: Step, now: datetime) -> Candidate:
    at = step.at
    return Candidate(
        step=number(at.step),
        title=title(step),
        source=at.source or "no source",
        summary=note(at.metadata) if at.source == "fork" and note(at.metadata) else summary(step),
        ago=ago(at.written_at, now),
        exact=exact(at.written_at),
        href=addresses.compare(store, left, _place(step)),
        current=at.id == left[2],
    )
