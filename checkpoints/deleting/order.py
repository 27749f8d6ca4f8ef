"""In which order the checkpoints of a thread go, so that what is left is a true older state of it."""

from __future__ import annotations

from collections import defaultdict
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Place(NamedTuple):
    """A checkpoint by its place in the tree, with the bytes that it holds."""

    ns: str
    id: str
    parent: str | None
    bytes: int


def children_first(places: Iterable[Place]) -> Iterator[Place]:
    """Yield the newest first, and none before its children.

    A clock that went back gives a child the lesser id. Links that loop are tolerated.
    """
    children: dict[tuple[str, str | None], list[Place]] = defaultdict(list)
    newest = sorted(places, key=attrgetter("id"), reverse=True)
    for place in newest:
        children[place.ns, place.parent].append(place)
    begun: set[Place] = set()
    for first in newest:
        stack = [] if first in begun else [first]
        while stack:
            place = stack[-1]
            begun.add(place)
            waiting = [child for child in children.pop((place.ns, place.id), ()) if child not in begun]
            if waiting:
                stack += reversed(waiting)
            else:
                yield stack.pop()
