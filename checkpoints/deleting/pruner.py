"""Deleting of many threads what their newest checkpoints do not need, in short transactions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from checkpoints.deleting.threads import Deleter, Gone, Part, Tables
from checkpoints.errors import PruneRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from checkpoints.deleting.latest import Doomed
    from checkpoints.deleting.order import Place
    from checkpoints.deleting.threads import Went

IDS = 500  # checkpoints that are weighed at a time
THREADS = 50  # that share transactions, if they are small


class PrunedTables(Tables, Protocol):
    """Tables that what is not needed is deleted from."""

    def doomed(self, thread_id: str) -> Doomed:
        """Decide what goes, without a lock. Raises PruneRefused."""

    def places(self, thread_id: str, ns: str, ids: Sequence[str]) -> list[Place]:
        """Return those of these checkpoints that are there."""

    def detach(self, parts: Sequence[Part]) -> float:
        """Let these checkpoints have no parent; return for how many seconds others were kept out."""

    def collect(self, thread_id: str, ns: str, limit: int, *, past: bool) -> tuple[Mapping[str, int], float]:
        """Delete values that no checkpoint refers to; of a past namespace all, and stray writes."""


@dataclass(slots=True)
class Pruned(Gone):
    """What was deleted, of so many threads. `refused` threads stayed whole, with the reason."""

    threads: int = 0
    refused: dict[str, PruneRefused] = field(default_factory=dict)


class Pruner(Deleter):
    """An open store of whose threads only the newest checkpoints are kept."""

    _tables: PrunedTables

    def __init__(self, tables: PrunedTables) -> None:
        super().__init__(tables)

    def prune(
        self, thread_ids: Iterable[str], told: Callable[[Mapping[str, int]], None] = lambda rows: None
    ) -> Pruned:
        """Delete of some threads all that the newest checkpoint of each namespace does not need.

        What is kept is what the savers' `keep_latest` keeps: the heads, of DeltaChannels their history, and
        nothing of calls of subgraphs that the thread has gone past. `told` gets the rows that went, by table,
        after each transaction; what it raises stops it there, and pruning again goes on. Raises a StoreError.
        """
        pruned = Pruned()
        went = self._counting(pruned, told)
        ids = list(thread_ids)
        for start in range(0, len(ids), THREADS):
            dooms = list(self._doomed(ids[start : start + THREADS], pruned))
            self._prune(dooms, went)
            pruned.threads += sum(doomed.checkpoints > 0 for doomed in dooms)
        return pruned

    def _doomed(self, thread_ids: Iterable[str], pruned: Pruned) -> Iterator[Doomed]:
        for thread_id in thread_ids:
            try:
                yield self._tables.doomed(thread_id)
            except PruneRefused as error:
                pruned.refused[thread_id] = error

    def _prune(self, dooms: Sequence[Doomed], went: Went) -> None:
        # A parent that goes is no longer named before it goes, or a killed run would leave links to nothing.
        for parts in self._pace.batches(self._detached(dooms)):
            went({}, sum(part.weight for part in parts), self._tables.detach(parts))
        # Of a past namespace the checkpoints go last: by them a run after one that was killed finds it.
        self._collect(dooms, went, past=True)
        for parts in self._pace.batches(self._going(dooms)):
            rows, seconds = self._tables.delete(parts)
            went(rows, sum(part.weight for part in parts), seconds)
        self._collect(dooms, went, past=False)

    def _detached(self, dooms: Iterable[Doomed]) -> Iterator[Part]:
        for doomed in dooms:
            for ns, ids in doomed.detached.items():
                for place in self._tables.places(doomed.thread_id, ns, ids) if ids else ():
                    yield Part(doomed.thread_id, place, None, 1, place.bytes)

    def _going(self, dooms: Iterable[Doomed]) -> Iterator[Part]:
        for doomed in dooms:
            for ns, ids in doomed.going.items():
                for start in range(0, len(ids), IDS):
                    places = self._tables.places(doomed.thread_id, ns, ids[start : start + IDS])
                    yield from self._parts_of(doomed.thread_id, places)

    def _collect(self, dooms: Iterable[Doomed], went: Went, *, past: bool) -> None:
        for doomed in dooms:
            for ns in doomed.going:
                more = (ns in doomed.past) is past
                while more:
                    limit = max(1, self._pace.weight // 4)  # such rows are not weighed
                    rows, seconds = self._tables.collect(doomed.thread_id, ns, limit, past=past)
                    more = sum(rows.values()) > 0
                    if more:
                        went(rows, sum(rows.values()) * 4, seconds)
