"""Deleting whole threads, newest checkpoints first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from checkpoints.deleting.order import Place, children_first
from checkpoints.deleting.pace import PAGE, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    Went: TypeAlias = Callable[[Mapping[str, int], int, float], None]

WINDOW = 20_000  # checkpoints of a thread that are put in order at a time, 10 MB
PASSES = 3  # the later ones delete what came meanwhile


class Part(NamedTuple):
    """What goes in one transaction: a checkpoint with its writes, or some of its tasks' writes before it.

    `tasks` is None for all that are left, together with the checkpoint itself.
    """

    thread_id: str
    place: Place
    tasks: tuple[str, ...] | None
    rows: int
    bytes: int

    @property
    def weight(self) -> int:
        return self.rows + self.bytes // PAGE


class Held(NamedTuple):
    """The writes of one task on a checkpoint."""

    place: tuple[str, str]
    task_id: str
    rows: int
    bytes: int


class Tables(Protocol):
    """The tables of a database that threads are deleted from. Each method is one transaction.

    Those that delete return the rows by table, and for how many seconds others were kept out.
    """

    @property
    def names(self) -> Sequence[str]:
        """The tables, those first whose rows belong to rows of others."""

    def newest(self, thread_id: str, limit: int) -> list[Place]:
        """Return the checkpoints of a thread with the greatest ids."""

    def writes(self, thread_id: str, places: Sequence[Place]) -> list[Held]:
        """Return what tasks have written on some checkpoints."""

    def delete(self, parts: Sequence[Part]) -> tuple[Mapping[str, int], float]:
        """Delete some checkpoints with their writes."""

    def sweep(self, table: str, thread_id: str, limit: int) -> tuple[int, float]:
        """Delete rows of a table that belong to a thread, whatever they are."""

    def markers(self, thread_id: str) -> list[bytes]:
        """Return bytes by which rows of a thread are found in files."""

    def left(self, thread_ids: Collection[str]) -> Mapping[str, Mapping[str, int]]:
        """Count the rows by table of those threads that have any."""


@dataclass(slots=True)
class Gone:
    """What was deleted: rows by table. `longest` is for how many seconds others were kept out at most."""

    rows: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0


@dataclass(slots=True)
class Removed(Gone):
    """What was deleted, and the threads that have rows all the same, which came meanwhile."""

    left: set[str] = field(default_factory=set)


class Deleter:
    """An open store that threads are deleted from."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._pace = Pace()

    @property
    def tables(self) -> Sequence[str]:
        return self._tables.names

    def markers(self, thread_id: str) -> list[bytes]:
        """Return bytes by which deleted rows of a thread are found in files. They are no text of a state."""
        return self._tables.markers(thread_id)

    def delete(
        self, thread_ids: Sequence[str], told: Callable[[Mapping[str, int]], None] = lambda rows: None
    ) -> Removed:
        """Delete all rows of some threads, in all namespaces, in many short transactions.

        `told` gets the rows that went, by table, after each transaction; what it raises stops the deletion
        there, and what is left of a thread is an older state of it. Raises a StoreError.
        """
        removed = Removed()
        went = self._counting(removed, told)
        left: Collection[str] = thread_ids
        for _ in range(PASSES):
            self._delete_checkpoints(left, went)
            self._sweep(self._tables.left(left), went)
            left = self._tables.left(left)
            if not left:
                break
        removed.left = set(left)
        return removed

    def _counting(self, gone: Gone, told: Callable[[Mapping[str, int]], None]) -> Went:
        """Return what is called after each transaction: it counts, tells, and rests as long as that took."""

        def went(rows: Mapping[str, int], weight: int, seconds: float) -> None:
            gone.rows.update(rows)
            gone.longest = max(gone.longest, seconds)
            told(rows)
            self._pace.took(weight, seconds)

        return went

    def _delete_checkpoints(self, thread_ids: Collection[str], went: Went) -> None:
        """Delete the checkpoints that there are now, a window of each thread after the other."""
        waiting: Collection[str] = thread_ids
        while waiting:
            again: list[str] = []
            gone = 0
            for parts in self._pace.batches(self._parts(waiting, again)):
                rows, seconds = self._tables.delete(parts)
                went(rows, sum(part.weight for part in parts), seconds)
                gone += sum(rows.values())
            waiting = again if gone else ()  # ids that cannot be asked for are swept

    def _parts(self, thread_ids: Iterable[str], again: list[str]) -> Iterator[Part]:
        """Yield the next parts of each thread, and note those that have more."""
        for thread_id in thread_ids:
            places = self._tables.newest(thread_id, WINDOW)
            if len(places) == WINDOW:
                again.append(thread_id)
            yield from self._parts_of(thread_id, places)

    def _parts_of(self, thread_id: str, places: Sequence[Place]) -> Iterator[Part]:
        ordered = list(children_first(places))
        for start in range(0, len(ordered), 500):
            some = ordered[start : start + 500]
            held: dict[tuple[str, str], list[Held]] = {}
            for task in self._tables.writes(thread_id, some):
                held.setdefault(task.place, []).append(task)
            for place in some:
                yield from self._parts_at(thread_id, place, held.get((place.ns, place.id), ()))

    def _parts_at(self, thread_id: str, place: Place, tasks: Iterable[Held]) -> Iterator[Part]:
        """Yield a checkpoint: whole, or where it has too many writes for that, task by task before."""
        rows = size = 0
        names: list[str] = []
        for task in tasks:
            weight = rows + task.rows + (size + task.bytes) // PAGE
            if names and weight > self._pace.weight:
                yield Part(thread_id, place, tuple(names), rows, size)
                rows, size, names = 0, 0, []
            rows, size, names = rows + task.rows, size + task.bytes, [*names, task.task_id]
        yield Part(thread_id, place, None, rows + 1, size + place.bytes)

    def _sweep(self, left: Mapping[str, Mapping[str, int]], went: Went) -> None:
        """Delete what belongs to no checkpoint: orphaned writes, values, rows with impossible ids.

        No more than was counted: an agent that goes on would never let this end.
        """
        for thread_id, counted in left.items():
            for table in self._tables.names:
                waiting = counted.get(table, 0)
                while waiting > 0:
                    limit = max(1, self._pace.weight // 4)  # such rows are not weighed
                    rows, seconds = self._tables.sweep(table, thread_id, limit)
                    went({table: rows}, rows * 4, seconds)
                    waiting = waiting - rows if rows else 0
