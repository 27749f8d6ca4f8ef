"""The branches of a namespace: the tree that parent links make of its checkpoints, drawn in lanes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


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

    def chain(self, id: str | None) -> list[str]:
        """Return a checkpoint and its ancestors, nearest first, as far as they are known here."""
        parents = self._parents
        found: dict[str, None] = {}
        while id in parents and id not in found:
            found[id] = None
            id = parents[id]
        return list(found)

    def own(self, tip: str) -> int:
        """Return how many checkpoints are of a tip's branch alone."""
        for number, id in enumerate(self.chain(tip)):
            if self.children[id] > 1:
                return number
        return len(self.chain(tip))

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


class _Line(NamedTuple):
    """A line on its way down to a checkpoint."""

    to: str
    trunk: bool


def _drawn(tree: Tree, shown: Collection[str]) -> dict[str, Lane]:
    trunk = tree.trunk
    drawn: dict[str, Lane] = {}
    lines: list[_Line | None] = []
    met: set[str] = set()
    for id, parent in tree.links:
        ending = [column for column, line in enumerate(lines) if line and line.to == id]
        column = ending[0] if ending else _free(lines)
        led = next((column for column in ending if _is_trunk(lines[column])), None)
        for each in ending:
            lines[each] = None
        passes = tuple(at for at, line in enumerate(lines) if line)
        met.add(id)
        severed = bool(parent) and tree.lacks(parent or "")
        descends = bool(parent) and parent not in met and not severed  # a link back up would be a loop
        trunk_at = next((at for at in passes if _is_trunk(lines[at])), led)
        if column == len(lines):
            lines.append(None)
        if descends and parent:
            lines[column] = _Line(parent, id in trunk)
        if id in trunk:
            trunk_at = column
        if id in shown:
            drawn[id] = Lane(column, bool(ending), descends, tuple(ending[1:]), passes, trunk_at, severed)
        while lines and lines[-1] is None:
            lines.pop()
    return drawn


def _is_trunk(line: _Line | None) -> bool:
    return line is not None and line.trunk


def _free(lines: Sequence[_Line | None]) -> int:
    return next(column for column in count() if column >= len(lines) or lines[column] is None)
