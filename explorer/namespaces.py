"""The namespaces of a thread as the tree that they are: `outer:task|inner:task` lies in `outer:task`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer import addresses
from explorer.bounds import NAMESPACES, first
from explorer.wording import at_least, short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checkpoints.stores.records import NamespaceRow


@dataclass(frozen=True, slots=True)
class NamespaceLine:
    """One namespace: `node` and `task` are its last segment, `depth` how deep it lies."""

    ns: str
    node: str
    task: str
    depth: int
    checkpoints: str
    href: str
    current: bool


def namespace_lines(
    store: str, thread: str, current: str, density: str, rows: Iterable[NamespaceRow]
) -> tuple[NamespaceLine, ...]:
    """Return the namespaces parents first, in the order of their path."""
    ordered = sorted(rows, key=lambda row: row.checkpoint_ns.split("|") if row.checkpoint_ns else [])
    return tuple(
        NamespaceLine(
            ns=row.checkpoint_ns,
            node=segment(row.checkpoint_ns)[0],
            task=short(segment(row.checkpoint_ns)[1]),
            depth=row.checkpoint_ns.count("|") + 1 if row.checkpoint_ns else 0,
            checkpoints=at_least(row.checkpoints, row.at_least),
            href=addresses.timeline(store, thread, ns=row.checkpoint_ns, density=density),
            current=row.checkpoint_ns == current,
        )
        for row in first(ordered, NAMESPACES)[0]
    )


def segment(ns: str) -> tuple[str, str]:
    """Return the node and the task id of a namespace's last segment."""
    node, _, task = ns.rpartition("|")[2].partition(":")
    return node or (ns if ns else "root"), task
