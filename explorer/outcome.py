"""What a replay has led to: its branch beside the one that was there, from where they part."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from checkpoints.steps import steps
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
    """Two branches from their common ancestor on.

    `common` is None where the ancestor is further back than what is shown. `compare_href` compares the ends.
    """

    common: BranchStep | None
    pairs: tuple[Pair, ...]
    compare_href: str


async def outcome(opened: Store, store: str, thread: str, former: str, made: str) -> Outcome | None:
    """Read both branches of the root; None where what was made is not there any more."""
    before = await opened.timeline(thread, "", branch=former or made, limit=STEPS_SHOWN)
    after = await opened.timeline(thread, "", branch=made, limit=STEPS_SHOWN)
    if not after.checkpoints:
        return None
    weight = before.weight + after.weight
    return await offload(weight, _outcome, store, before, after, opened.serde)


def _outcome(store: str, before: TimelinePage, after: TimelinePage, serde: InertSerializer) -> Outcome:
    old, new = steps(before, serde), steps(after, serde)
    known = {step.at.id for step in old}
    common = next((step for step in new if step.at.id in known), None)
    at = common.at.id if common else ""
    left, right = _until(old, at), _until(new, at)
    ends = (old[0] if old else common, new[0])
    return Outcome(
        common=_step(store, common) if common else None,
        pairs=tuple(_pair(store, *pair) for pair in zip_longest(reversed(left), reversed(right))),
        compare_href=_comparison(store, *ends),
    )


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


def _until(branch: list[Step], id: str) -> list[Step]:
    """Return the steps after a checkpoint, newest first."""
    ids = [step.at.id for step in branch]
    return branch[: ids.index(id)] if id in ids else branch


def _step(store: str, step: Step) -> BranchStep:
    at = step.at
    return BranchStep(
        step=number(at.step),
        title=title(step),
        source=at.source or "no source",
        summary=summary(step),
        href=addresses.checkpoint(store, at.row.thread_id, at.id, ns=at.row.checkpoint_ns),
    )
