"""The branches of a namespace in words: one line for each tip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.snapshot import Snapshot, id_time
from explorer import addresses
from explorer.forks import note
from explorer.wording import count, exact, number, short

if TYPE_CHECKING:
    from datetime import datetime

    from checkpoints.inert import InertSerializer
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
    written_at: datetime | None
    exact: str
    id: str


def branch_lines(
    store: str, thread: str, ns: str, density: str, page: TimelinePage, serde: InertSerializer, current: str
) -> tuple[BranchLine, ...]:
    """Return the branches that are known, the newest first; none where there is only one."""
    return tuple(
        BranchLine(
            tip=at.id,
            step=number(at.step),
            source=at.source or "no source",
            note=note(at.metadata),
            own=count(page.tree.own(at.id), "checkpoint") + " of its own",
            head=at.id == page.tree.links[0].id,
            current=at.id == current,
            href=addresses.timeline(store, thread, ns=ns, density=density, branch=at.id),
            written_at=id_time(at.id),
            exact=exact(id_time(at.id)),
            id=short(at.id),
        )
        for at in (Snapshot(row, serde) for row in page.tips)
    )
