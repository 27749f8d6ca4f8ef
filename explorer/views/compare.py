"""Two checkpoints of a store side by side: what differs between them, across branches and threads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from checkpoints.difference import changed_channels, difference
from checkpoints.errors import CheckpointNotFound, ThreadNotFound
from checkpoints.inert.packing import fingerprint
from checkpoints.outline import brief
from checkpoints.steps import steps
from explorer import addresses, tilde
from explorer.bounds import CHANGES, CHANNELS, WRITES, first, listed
from explorer.changes import Change, between, is_own, signed
from explorer.forks import note
from explorer.forms import CompareParameters, plain
from explorer.offload import offload
from explorer.pages import one
from explorer.people.roles import who
from explorer.reading import read
from explorer.rendering import screen
from explorer.stores import located
from explorer.summary import summary, title
from explorer.tasks import counted, task_line
from explorer.wording import ago, exact, number, short

if TYPE_CHECKING:
    from collections.abc import Hashable

    from django.http import HttpRequest, HttpResponse

    from checkpoints.branches import Tree
    from checkpoints.inert import InertSerializer
    from checkpoints.steps import Step
    from checkpoints.stores import Store
    from checkpoints.stores.records import TimelinePage

STEPS_SHOWN = 50
LINES_SHOWN = 200
THREADS_NAMED = 50
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
    more_metadata: bool
    writes: tuple[tuple[str, str, str], ...]
    more_writes: int
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
    """The first checkpoint, and those of its namespace to compare it with.

    `key` are its thread, namespace and id as a form sends them back unchanged; `threads` are the newest
    other threads. `problem` says why what was asked for cannot be compared.
    """

    left: Side
    key: Place
    threads: tuple[str, ...]
    problem: str
    candidates: tuple[Candidate, ...]
    older_href: str


async def compare(request: HttpRequest, store: str) -> HttpResponse:
    asked = CompareParameters.read(request.GET)
    left = (asked["thread"] or "", asked["ns"] or "", asked["id"] or "")
    read_as = str if asked["typed"] else plain
    other = (
        read_as(asked["with_thread"]) if asked["with_thread"] else left[0],
        read_as(asked["with_ns"] or ""),
        read_as(asked["with_id"] or ""),
    )
    context: dict[str, Any] = {"store": store, "thread": left[0], "asked": asked}
    location, problem = located(store), ""
    if asked["with_thread"] or asked["with_id"]:
        try:
            rows = await read(who(request), location, lambda opened: _load(opened, left, other))
        except (CheckpointNotFound, ThreadNotFound) as error:
            problem = str(error)
        else:
            context["comparison"] = await offload(rows.weight, _comparison, store, rows)
    if "comparison" not in context:
        context["chooser"] = await read(
            who(request), location, lambda opened: _choices(opened, store, left, asked["before"], problem)
        )
    response = screen(request, "compare/page.html", "compare/_compare.html", context)
    response.status_code = 404 if problem else 200
    return response


@dataclass(frozen=True, slots=True)
class Rows:
    """Two checkpoints as pages of one, and the tree of their namespace where it is one."""

    before: TimelinePage
    after: TimelinePage
    tree: Tree | None
    serde: InertSerializer

    @property
    def weight(self) -> int:
        return self.before.weight + self.after.weight


async def _load(opened: Store, left: Place, right: Place) -> Rows:
    before, after = await _page(opened, left), await _page(opened, right)
    tree = None
    if _place(before)[:2] == _place(after)[:2]:
        tree = await opened.tree(*_place(before)[:2])
    return Rows(before, after, tree, opened.serde)


async def _page(opened: Store, place: Place) -> TimelinePage:
    """Read a checkpoint; without an id, the head of the namespace. Raises CheckpointNotFound."""
    thread, ns, id = place
    id = id or await opened.head(thread, ns) or ""
    if not id:
        sentence = f"The thread {brief(thread, 100)} has no checkpoint in "
        raise CheckpointNotFound(
            sentence + (f"the namespace {brief(ns, 100)}." if ns else "its root namespace.")
        )
    return await one(opened, thread, ns, id)


def _place(page: TimelinePage) -> Place:
    row = page.checkpoints[0]
    return row.thread_id, row.checkpoint_ns, row.checkpoint_id


def _comparison(store: str, rows: Rows) -> Comparison:
    [before], [after] = steps(rows.before, rows.serde), steps(rows.after, rows.serde)
    places = _place(rows.before), _place(rows.after)
    old, new = before.at.values, after.at.values
    moved = set(changed_channels(old, new))
    own = [name for name in moved if is_own(name, after) or is_own(name, before)]
    shown, beyond = first(
        [name for name in dict.fromkeys((*new, *old)) if name in moved and name not in own], CHANGES
    )
    lines = list(islice(difference(dict(before.at.metadata), dict(after.at.metadata)), LINES_SHOWN + 1))
    writes, more, same = _writes(before, after)
    return Comparison(
        left=_side(store, before),
        right=_side(store, after),
        swap_href=addresses.compare(store, places[1], places[0]),
        again_href=addresses.compare(store, places[0]),
        relation=_relation(before, after, rows.tree),
        changes=tuple(between(old, new, shown)),
        beyond=beyond,
        unchanged=listed([name for name in new if name not in moved and not is_own(name, after)], CHANNELS),
        metadata=signed(lines[:LINES_SHOWN]),
        more_metadata=len(lines) > LINES_SHOWN,
        writes=writes,
        more_writes=more,
        same_writes=same,
        control=listed(sorted(own), CHANNELS),
    )


def _side(store: str, step: Step) -> Side:
    at = step.at
    thread, ns, id = at.row.thread_id, at.row.checkpoint_ns, at.id
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
    if tree is None:
        return "They are of two threads or namespaces."
    if before.at.id == after.at.id:
        return "Both are the same checkpoint."
    older, newer = tree.chain(before.at.id), tree.chain(after.at.id)
    at_older, at_newer = ({id: at for at, id in enumerate(chain)} for chain in (older, newer))
    if before.at.id in at_newer:
        return f"The second comes {_steps(at_newer[before.at.id])} after the first, on one branch."
    if after.at.id in at_older:
        return f"The second comes {_steps(at_older[after.at.id])} before the first, on one branch."
    if before.at.parent_id and before.at.parent_id == after.at.parent_id:
        return "They are of two branches that part right before them: both have the same parent."
    common = next((id for id in older if id in at_newer), None)
    if common is None:
        return ""
    return (
        "They are of two branches. Since these parted the first has come"
        f" {_steps(at_older[common])}, the second {_steps(at_newer[common])}."
    )


def _steps(apart: int) -> str:
    return "one step" if apart == 1 else f"{apart:,} steps"


def _writes(before: Step, after: Step) -> tuple[tuple[tuple[str, str, str], ...], int, int]:
    """Return the pending writes that only one has, how many more of these, and how many both have."""
    words: dict[Hashable, str] = {}
    old, new = _counted(before, words), _counted(after, words)
    lines = [("−", "", words[key]) for key in (old - new).elements()]
    lines += [("+", "", words[key]) for key in (new - old).elements()]
    shown, beyond = first(lines, WRITES)
    return tuple(shown), beyond, (old & new).total()


def _counted(step: Step, words: dict[Hashable, str]) -> Counter[Hashable]:
    """Count the pending writes by what tells one from another: node, channel and value."""
    found: Counter[Hashable] = Counter()
    for task in step.ran:
        node = task_line(task).node
        for write in task.writes:
            key = (task.node or task.id, write.channel, fingerprint(write.value))
            found[key] += 1
            words[key] = f"{node} → {write.channel}: {brief(write.value, 300)}"
    return found


async def _choices(opened: Store, store: str, left: Place, before: str | None, problem: str) -> Chooser:
    first_page = await _page(opened, left)
    thread, ns, id = place = _place(first_page)
    page = await opened.timeline(thread, ns, before=before or None, limit=STEPS_SHOWN)
    known = (row.thread_id for row in (await opened.threads(limit=THREADS_NAMED)).threads)
    now = datetime.now(UTC)
    weight = first_page.weight + page.weight
    [step], others = await offload(
        weight, lambda: (steps(first_page, opened.serde), list(steps(page, opened.serde)))
    )
    return Chooser(
        left=_side(store, step),
        key=(tilde.encode(thread), tilde.encode(ns), tilde.encode(id)),
        threads=tuple(name for name in known if name and name != thread),
        problem=problem,
        candidates=tuple(_candidate(store, place, other, now) for other in others),
        older_href=addresses.compare(store, place, before=page.older) if page.older else "",
    )


def _candidate(store: str, place: Place, step: Step, now: datetime) -> Candidate:
    """Lead to a comparison with the first, from the older to the newer."""
    at = step.at
    other = (*place[:2], at.id)
    return Candidate(
        step=number(at.step),
        title=title(step),
        source=at.source or "no source",
        summary=note(at.metadata) if at.source == "fork" and note(at.metadata) else summary(step),
        ago=ago(at.written_at, now),
        exact=exact(at.written_at),
        href=addresses.compare(store, *sorted((place, other))),
        current=other == place,
    )
