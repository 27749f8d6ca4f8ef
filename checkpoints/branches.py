"""The branches of a namespace: the tree that parent links make of its checkpoints, drawn in lanes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


class Link(NamedTuple):
    """A checkpoint and its parent."""

    id: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class Lane:
    """How one row of the tree is drawn, columns counted from the left.

    The checkpoint stands in `column`. A line comes down to it there when it `continues` one above, and goes
    on to its parent when it `descends`. `joins` are the columns whose lines end at it, too: other children.
    `passes` are those of lines that go by. `trunk` is the column of the line that leads to the head, None
    where it is not in this row. It is `severed` where its parent is not in the store.
    """

    column: int
    continues: bool
    descends: bool
    joins: tuple[int, ...] = ()
    passes: tuple[int, ...] = ()
    trunk: int | None = None
    severed: bool = False

    @property
    def width(self) -> int:
        """The number of columns that the row needs."""
        return max(self.column, *self.joins, *self.passes, -1) + 1


@dataclass(frozen=True)
class Tree:
    """The links of a namespace, newest first: of all its checkpoints (`whole`), or of the newest of them."""

    links: Sequence[Link]
    whole: bool

    @cached_property
    def children(self) -> Counter[str]:
        """How many checkpoints each one is the parent of. One that is its own parent does not count."""
        return Counter(link.parent for link in self.links if link.parent and link.parent != link.id)

    @cached_property
    def tips(self) -> tuple[str, ...]:
        """The checkpoints that none continues from, the head among them."""
        return tuple(link.id for link in self.links if not self.children[link.id])

    @cached_property
    def trunk(self) -> frozenset[str]:
        """The head and its ancestors: what the next invoke continues."""
        return frozenset(self.chain(self.links[0].id)) if self.links else frozenset()

    def __contains__(self, id: str) -> bool:
        return id in self._parents

    def chain(self, id: str | None) -> list[str]:
        """Return a checkpoint and its ancestors, nearest first, as far as they are known here."""
        return list(self._up(id))

    def _up(self, id: str | None) -> Iterator[str]:
        parents = self._parents
        met: set[str] = set()
        while id is not None and id in parents and id not in met:
            met.add(id)
            yield id
            id = parents[id]

    def own(self, tip: str) -> tuple[int, bool]:
        """Return how many checkpoints are of a tip's branch alone, and whether that is all that is known."""
        number, last = 0, None
        for id in self._up(tip):
            if self.children[id] > 1:
                return number, False
            number, last = number + 1, id
        parent = self._parents[last] if last is not None else None
        return number, bool(parent) and not self.lacks(parent or "")

    def lanes(self, shown: Collection[str]) -> dict[str, Lane]:
        """Draw those rows that are shown."""
        return _drawn(self, shown)

    def lacks(self, id: str) -> bool:
        """Tell whether a checkpoint is known not to be there."""
        return id not in self._parents and (self.whole or id > self.links[-1].id)

    @cached_property
    def _parents(self) -> dict[str, str | None]:
        return dict(self.links)


UNKNOWN = Tree((), whole=False)


class _Lines:
    """The lines on their way down, by the column that each has and by the checkpoint that each leads to."""

    def __init__(self) -> None:
        self._to: dict[str, list[int]] = {}
        self._free: list[int] = []
        self.columns: set[int] = set()
        self.trunk: int | None = None

    def end(self, id: str) -> list[int]:
        """Take away the lines that lead to a checkpoint, and return their columns from the left."""
        columns = sorted(self._to.pop(id, ()))
        for column in columns:
            self.columns.discard(column)
            heappush(self._free, column)
        return columns

    def begin(self, column: int, to: str, *, trunk: bool) -> None:
        """Let a line go on from a column that `take` gave."""
        self._to.setdefault(to, []).append(column)
        self.columns.add(column)
        if trunk:
            self.trunk = column

    def take(self, wanted: int | None) -> int:
        """Take the wanted column, or the first that is free."""
        if wanted is None:
            return heappop(self._free) if self._free else len(self.columns)
        self._free.remove(wanted)
        heapify(self._free)
        return wanted

    def leave(self, column: int) -> None:
        """Give back a column that no line goes on from."""
        heappush(self._free, column)


def _drawn(tree: Tree, shown: Collection[str]) -> dict[str, Lane]:
    drawn: dict[str, Lane] = {}
    lines = _Lines()
    met: set[str] = set()
    left = len(shown)
    for id, parent in tree.links:
        if not left:
            break
        ending = lines.end(id)
        passes = lines.columns.copy() if id in shown else ()
        column = lines.take(ending[0] if ending else None)
        met.add(id)
        severed = bool(parent) and tree.lacks(parent or "")
        descends = bool(parent) and parent not in met and not severed  # a link back up would be a loop
        trunk = column if id in tree.trunk else lines.trunk
        if descends and parent:
            lines.begin(column, parent, trunk=id in tree.trunk)
        else:
            lines.leave(column)
        if id in tree.trunk and not descends:
            lines.trunk = None
        if id in shown:
            left -= 1
            place = (tuple(ending[1:]), tuple(sorted(passes)))
            drawn[id] = Lane(column, bool(ending), descends, *place, trunk, severed)
    return drawn
