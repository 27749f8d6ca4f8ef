"""What goes of a thread when its newest checkpoints are kept, decided before anything is locked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoints.errors import PruneRefused
from checkpoints.saver.pruning import latest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checkpoints.saver.tables import Described, Tables
    from checkpoints.statements import Operation


@dataclass(frozen=True, slots=True)
class Doomed:
    """The checkpoints of a thread that go and those that stay, by namespace, the newest first.

    `detached` stay without their parent, which goes. What is stored later is in neither, and stays. Of
    namespaces that are `past` all goes.
    """

    thread_id: str
    going: Mapping[str, Sequence[str]]
    kept: Mapping[str, Sequence[str]]
    detached: Mapping[str, Sequence[str]]
    past: frozenset[str]

    @property
    def checkpoints(self) -> int:
        """How many checkpoints go."""
        return sum(len(ids) for ids in self.going.values())


def doomed(tables: Tables[Any], thread_id: str) -> Operation[Doomed]:
    """Decide what goes. Raises PruneRefused where a newest checkpoint cannot be read."""
    try:
        found = yield from latest(tables, thread_id)
    except ValueError:
        raise _unreadable(thread_id) from None
    if any(_is_unreadable(found.heads[ns]) for ns in found.kept):
        raise _unreadable(thread_id)
    going, detached = {}, {}
    for ns in (*sorted(found.past), *found.kept):
        links = yield from tables.links(thread_id, ns)
        gone = links.keys() - found.kept.get(ns, set())
        going[ns] = sorted(gone, reverse=True)
        detached[ns] = [id for id, parent in links.items() if id not in gone and parent in gone]
    kept = {ns: sorted(ids, reverse=True) for ns, ids in found.kept.items()}
    return Doomed(thread_id, going, kept, detached, frozenset(found.past))


def _is_unreadable(head: Described) -> bool:
    """Tell whether nothing is known of a checkpoint: every release has written versions."""
    return head.version is None and not head.versioned


def _unreadable(thread_id: str) -> PruneRefused:
    return PruneRefused(f"The newest checkpoint of thread {thread_id!r} cannot be read.")
