"""Where the bytes of a store go: by table, thread, namespace and channel, counted or estimated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

THREADS = 20  # the largest, which are shown
PARTS = 30  # namespaces and channels that are shown
MOST_OF_THREAD = 10_000  # rows of one thread that are counted
CALL = re.compile(r":[^|]*")


@dataclass(frozen=True, slots=True)
class TableUsage:
    """A table: its rows, the bytes of content in them, and the bytes that it has on the disk, if known."""

    name: str
    rows: int
    bytes: int
    disk: int | None = None


@dataclass(frozen=True, slots=True)
class ThreadUsage:
    """One of the largest threads. `head_id` is the greatest id of its checkpoints; `at_least` was counted."""

    thread_id: str
    checkpoints: int
    bytes: int
    head_id: str | None
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class NamespaceUsage:
    """All namespaces of one kind: the root graph (""), or calls of a subgraph, without their tasks' ids."""

    kind: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ChannelUsage:
    """What a channel takes in states and in pending writes; `ours` says that the name is no channel's."""

    name: str
    states: int
    writes: int
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Where the bytes go. `freed` is about what keeping only the newest checkpoints would free.

    `free` are bytes of a file that nothing uses. `bound` says what was looked at, where that is not all: then
    numbers are estimates, but those of single threads. `states` is how many states were taken apart to
    learn of their channels, None where the database knows; `deltas` whether some have DeltaChannels.
    """

    bytes: int
    free: int | None
    tables: tuple[TableUsage, ...]
    threads: tuple[ThreadUsage, ...]
    namespaces: tuple[NamespaceUsage, ...]
    channels: tuple[ChannelUsage, ...]
    freed: int
    states: int | None
    deltas: bool
    bound: str | None = None

    @property
    def content(self) -> int:
        """The bytes of content in all tables."""
        return sum(table.bytes for table in self.tables)


def kind_of(checkpoint_ns: str) -> str:
    """Return a namespace without the ids of its tasks."""
    return CALL.sub(":", checkpoint_ns)


def is_call(checkpoint_ns: str) -> bool:
    """Tell whether a namespace is of one call of a subgraph: only the newest is kept with its root."""
    return ":" in checkpoint_ns


def namespaces(rows: Counter[str], sizes: Counter[str]) -> tuple[NamespaceUsage, ...]:
    """Return the kinds of namespaces, the largest first."""
    found = (NamespaceUsage(kind, rows[kind], size) for kind, size in sizes.items())
    return tuple(sorted(found, key=lambda each: (-each.bytes, each.kind)))[:PARTS]


def channels(
    states: Counter[str], writes: Counter[str], ours: Iterable[tuple[str, int]]
) -> tuple[ChannelUsage, ...]:
    """Return the channels, the largest first, and what is no channel's after them."""
    names = states.keys() | writes.keys()
    found = sorted((ChannelUsage(name, states[name], writes[name]) for name in names), key=_weight)
    shown, others = found[:PARTS], found[PARTS:]
    if others:
        name = "1 other channel" if len(others) == 1 else f"{len(others):,} other channels"
        sums = sum(each.states for each in others), sum(each.writes for each in others)
        shown.append(ChannelUsage(name, *sums, ours=True))
    return (*shown, *(ChannelUsage(name, size, 0, ours=True) for name, size in ours if size))


def looked_at(shares: Mapping[str, float]) -> str | None:
    """Say which shares of the tables were looked at; None where that is all."""
    partial = [f"{_percent(share)} of {table}" for table, share in shares.items() if share < 1]
    if not partial:
        return None
    told = f"{', '.join(partial[:-1])} and {partial[-1]}" if partial[1:] else partial[0]
    return (
        f"The store is large: {told} were looked at, evenly, so numbers are estimates. "
        "Those of single threads were counted."
    )


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"


def _weight(usage: ChannelUsage) -> tuple[int, str]:
    return -(usage.states + usage.writes), usage.name
