"""Threads of a bundle, put into a store a few at a time, each of them whole or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Protocol

from checkpoints.bundling.progress import Imported, added, total
from checkpoints.bundling.threads import Threads
from checkpoints.copying import convert
from checkpoints.copying.progress import Meter
from checkpoints.copying.spool import CACHE, Spool
from checkpoints.copying.sqlite import taken
from checkpoints.copying.tables import TABLES
from checkpoints.errors import CopyRefused, ThreadExists

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from checkpoints.bundling.bundle import Bundle
    from checkpoints.bundling.progress import Put, Tally
    from checkpoints.copying.tables import Kind
    from checkpoints.errors import StoreError
    from checkpoints.splicing.seals import Seal
    from checkpoints.stores.records import Size

ROWS = 400  # of several threads in one transaction, so that a file is not locked for longer than 20 ms
BYTES = 1 << 20


class Target(Protocol):
    """A store that gets threads."""

    @property
    def kind(self) -> Kind: ...

    def put(self, held: Threads, thread_ids: Sequence[str]) -> Put:
        """Write those of the threads that are not there, in one transaction."""


class Import:
    """An import at work. It knows what was imported, and why the rest was not."""

    def __init__(self, bundle: Bundle, target: Target, seal: Seal, tally: Tally) -> None:
        self._bundle = bundle
        self._target = target
        self._seal = seal
        self._tally = tally
        self._refused: dict[str, StoreError] = {}
        self._tables = added((), [table.name for table in TABLES[target.kind]])
        self._threads = self._left = 0

    def run(self, sizes: Mapping[str, Size]) -> Imported:
        """Import these threads, whose rows were checked. One that is refused keeps no other waiting."""
        self._tally.begin("import", len(sizes))
        for group in _groups(sizes):
            with self._staged(group) as (held, ready):
                self._put(held, ready)
            self._tally.advance(len(group), total(sizes[thread_id] for thread_id in group))
        return Imported(self._threads, self._tables, self._refused, self._left)

    @contextmanager
    def _staged(self, thread_ids: Sequence[str]) -> Iterator[tuple[Threads, list[str]]]:
        """Give the rows as the target has them: the bundle's, or converted in a database of our own."""
        if self._target.kind == self._bundle.held.kind:
            yield self._bundle.held, list(thread_ids)
            return
        with closing(sqlite3.connect("", isolation_level=None)) as conn:  # a file that is deleted once open
            conn.execute(f"PRAGMA cache_size=-{CACHE}")
            staged = Threads(conn, self._target.kind)
            staged.create()
            ready = []
            for thread_id in thread_ids:
                try:
                    self._left += self._convert(thread_id, staged)
                except CopyRefused as error:
                    self._refused[thread_id] = error
                else:
                    ready.append(thread_id)
            yield staged, ready

    def _convert(self, thread_id: str, staged: Threads) -> int:
        held, stop = self._bundle.held, self._tally.stop
        with Spool(held.kind) as read, Spool(staged.kind) as converted:
            with read.filling():
                for table in held.tables:
                    for row in held.rows(table, [thread_id]):
                        read.add(table, [row[1:]])
            left = convert(read, converted, self._seal, Meter(None, stop))
            for table in staged.tables:
                staged.add(table, ((thread_id, *row) for row in converted.rows(table)))
        return left

    def _put(self, held: Threads, thread_ids: Sequence[str]) -> None:
        if not thread_ids:
            return
        try:
            put = self._target.put(held, thread_ids)
        except (CopyRefused, ThreadExists) as error:
            if len(thread_ids) == 1:
                self._refused[thread_ids[0]] = error
                return
            for thread_id in thread_ids:
                self._put(held, [thread_id])
            return
        self._refused.update((thread_id, taken(thread_id)) for thread_id in put.there)
        self._threads += len(thread_ids) - len(put.there)
        self._tables = added((self._tables, put.tables), self._tables)


def _groups(sizes: Mapping[str, Size]) -> Iterator[list[str]]:
    """Part the threads into those that are written in one transaction: a few small ones, or a larger one."""
    group: list[str] = []
    rows = content = 0
    for thread_id, size in sizes.items():
        if group and (rows + size.rows > ROWS or content + size.bytes > BYTES):
            yield group
            group, rows, content = [], 0, 0
        group.append(thread_id)
        rows, content = rows + size.rows, content + size.bytes
    if group:
        yield group
