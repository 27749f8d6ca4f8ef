"""What a replay has led to: its steps beside those that came after the same checkpoint before."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from checkpoints.steps import steps
from checkpoints.stores.siblings import REPLAY
from explorer import addresses
from explorer.offload import offload
from explorer.summary import summary, title
from explorer.wording import number

if TYPE_CHECKING:
    from checkpoints.inert import InertSerializer
    from checkpoints.steps import Step
    from checkpoints.stores import Store
    from checkpoints.stores.records import TimelinePage

STEPS_SHOWN = 40  # of each branch


@dataclass(frozen=True, slots=True)
class BranchStep:
    """One step of a branch."""

    step: str
    title: str
    source: str
    summary: str
    href: str


@dataclass(frozen=True, slots=True)
class Pair:
    """The steps that come equally long after the common ancestor; one of them may be None.

    They `differ` where that can be seen: another node ran, or did something else in short.
    """

    before: BranchStep | None
    after: BranchStep | None
    differ: bool
    compare_href: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came after a checkpoint before, and what a replay has brought.

    `start` is that checkpoint; None where it is further back than what is shown. `copied` tells that the
    replay began with a copy of it, as LangGraph makes one. `compare_href` compares the ends.
    """

    start: BranchStep | None
    copied: bool
    pairs: tuple[Pair, ...]
    had_branch: bool
    compare_href: str


@dataclass(frozen=True, slots=True)
class Ran:
    """A replay that has ended: from the `start`, when the head was the `former`, to the last one `made`."""

    id: str
    thread: str
    start: str
    former: str
    made: str


async def outcome(opened: Store, store: str, ran: Ran) -> Outcome | None:
    """Read both branches of the root; None where what was made is not there any more."""
    after = await opened.timeline(ran.thread, "", branch=ran.made, limit=STEPS_SHOWN)
    if not after.checkpoints:
        return None
    before = None
    if tip := await _former_tip(opened, ran, after):
        before = await opened.timeline(ran.thread, "", branch=tip, limit=STEPS_SHOWN)
    weight = after.weight + (before.weight if before else 0)
    return await offload(weight, _outcome, store, ran, before, after, opened.serde)


async def _former_tip(opened: Store, ran: Ran, after: TimelinePage) -> str:
    """Return the end of the branch that went on from there before: the former head's, else the newest."""
    new = {row.checkpoint_id for row in after.checkpoints}
    tree = await opened.tree(ran.thread, "")
    for tip in (ran.former, *(tip for tip in tree.tips if tip < ran.made)):
        chain = tree.chain(tip)
        if tip and ran.start in chain and (tip == ran.start or chain[chain.index(ran.start) - 1] not in new):
            return tip
    return ""


def _outcome(
    store: str, ran: Ran, before: TimelinePage | None, after: TimelinePage, serde: InertSerializer
) -> Outcome:
    every = steps(after, serde)
    new, start = _after(every, ran.start)
    old = _after(steps(before, serde), ran.start)[0] if before else []
    right = [step for step in new if step.at.metadata.get(REPLAY) in (ran.id, None)]
    left = _one_turn(_without_copy(old))
    shown = _without_copy(right)
    return Outcome(
        start=_step(store, start) if start else None,
        copied=len(shown) < len(right),
        pairs=tuple(_pair(store, *pair) for pair in zip_longest(left, shown)),
        had_branch=bool(left),
        compare_href=_comparison(store, left[-1] if left else None, shown[-1] if shown else None),
    )


def _after(branch: list[Step], id: str) -> tuple[list[Step], Step | None]:
    """Return the steps after a checkpoint of a branch, oldest first, and it itself where it is there."""
    place = next((place for place, step in enumerate(branch) if step.at.id == id), None)
    return branch[:place][::-1], None if place is None else branch[place]


def _without_copy(branch: list[Step]) -> list[Step]:
    """Leave out the copy of a checkpoint that a run in its past begins with."""
    return branch[1:] if branch and branch[0].at.source == "fork" else branch


def _one_turn(branch: list[Step]) -> list[Step]:
    """Leave out what came with further inputs."""
    later = (place for place, step in enumerate(branch) if place and step.at.source == "input")
    return branch[: next(later, None)]


def _pair(store: str, before: Step | None, after: Step | None) -> Pair:
    left, right = (None if step is None else _step(store, step) for step in (before, after))
    return Pair(
        before=left,
        after=right,
        differ=(left.title, left.summary) != (right.title, right.summary) if left and right else True,
        compare_href=_comparison(store, before, after),
    )


def _comparison(store: str, before: Step | None, after: Step | None) -> str:
    if before is None or after is None or before.at.id == after.at.id:
        return ""
    rows = before.at.row, after.at.row
    left, right = ((row.thread_id, row.checkpoint_ns, row.checkpoint_id) for row in rows)
    return addresses.compare(store, left, right)


def _step(store: str, step: Step) -> BranchStep:
    at = step.at
    return BranchStep(
        step=number(at.step),
        title=title(step),
        source=at.source or "no source",
        summary=summary(step),
        href=addresses.checkpoint(store, at.row.thread_id, at.id, ns=at.row.checkpoint_ns),
    )
