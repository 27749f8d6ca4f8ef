"""The branches of a namespace in words: one line for each tip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.snapshot import Snapshot, id_time
from explorer import addresses
from explorer.forks import note
from explorer.wording import at_least, exact, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.inert import InertSerializer
    from checkpoints.steps import Step
    from checkpoints.stores.records import TimelinePage


@dataclass(frozen=True, slots=True)
class BranchLine:
    """One branch, by its tip. `own` is how much of it no other branch has."""

    tip: str
    step: str
    source: str
    note: str
    own: str
    head: bool
    current: bool
    href: str
    exact: str


def branch_lines(
    store: str,
    thread: str,
    ns: str,
    density: str,
    page: TimelinePage,
    related: Sequence[Step],
    serde: InertSerializer,
    current: str,
) -> tuple[BranchLine, ...]:
    """Return the branches that are known, the newest first; none where there is only one.

    The time is that of the tip, where the page has it; the id of a fork lies before its time.
    """
    times = {step.at.id: step.at.written_at for step in related}
    return tuple(
        BranchLine(
            tip=at.id,
            step=number(at.step),
            source=at.source or "no source",
            note=note(at.metadata),
            own=_own(*page.tree.own(at.id)),
            head=at.id == page.tree.links[0].id,
            current=at.id == current,
            href=addresses.timeline(store, thread, ns=ns, density=density, branch=at.id),
            exact=exact(times.get(at.id) or (None if at.source == "fork" else id_time(at.id))),
        )
        for at in (Snapshot(row, serde) for row in page.tips)
    )


def _own(number: int, more: bool) -> str:
    return f"{at_least(number, more)} checkpoint{'' if number == 1 and not more else 's'} of its own"
