"""Many threads of a store, read into a bundle: small ones together, a large one page by page.

What one look at the store brings is of one moment. Looks are short: nobody waits for them, and no log grows.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from checkpoints.bundling.progress import total
from checkpoints.copying.pages import BYTES, Dialect, all_rows, page, totals
from checkpoints.errors import CopyRefused, StoreBusy, ThreadNotFound
from checkpoints.statements import Statement
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from checkpoints.bundling.making import Making
    from checkpoints.bundling.progress import Tally
    from checkpoints.copying.progress import Stop
    from checkpoints.copying.tables import Kind, Table
    from checkpoints.statements import Operation, Row, T

ATTEMPTS = 5
HOLD_SECONDS = 0.25  # that a look lasts; one large thread takes the time it needs
THREADS = 100  # ids in one statement
ROWS = 2_000  # of small threads that are read together

# Skips from id to id along the primary key.
IDS = """\
SELECT thread_id FROM (
    WITH RECURSIVE ids (thread_id) AS (
        SELECT (SELECT thread_id FROM {table} {after} ORDER BY thread_id LIMIT 1)
        UNION ALL
        SELECT (SELECT next.thread_id FROM {table} AS next
                WHERE next.thread_id > ids.thread_id ORDER BY next.thread_id LIMIT 1)
        FROM ids WHERE ids.thread_id IS NOT NULL)
    SELECT thread_id FROM ids WHERE thread_id IS NOT NULL LIMIT {threads}) AS {table}_ids"""


class Moved(Exception):
    """Somebody wrote to a file that was read without locks."""


@dataclass(frozen=True, slots=True)
class Look:
    """A store as it is in one moment: its tables, their SQL, and what runs an operation on them."""

    tables: tuple[Table, ...]
    dialect: Dialect
    run: Callable[[Operation[Any]], Any]


class Source(Protocol):
    """A store that threads are exported from."""

    @property
    def kind(self) -> Kind: ...

    @property
    def name(self) -> str: ...

    def look(self, stop: Stop) -> AbstractContextManager[Look]:
        """Open the store for one look. Raises StoreError, and Moved when what was read does not count."""


def fill(source: Source, thread_ids: Sequence[str] | None, bundle: Making, tally: Tally) -> None:
    """Read these threads, or all. Raises StoreError, as ThreadNotFound for one that was named."""
    tally.begin("export", None if thread_ids is None else len(thread_ids))
    chunks = _every(source, tally.stop) if thread_ids is None else _chunks(thread_ids)
    for chunk in chunks:
        rest = chunk
        while rest:
            met, sizes = looked(source, tally.stop, partial(_read, rest, bundle, tally.stop))
            missing = [thread_id for thread_id in rest[:met] if thread_id not in sizes]
            if missing and thread_ids is not None:
                raise ThreadNotFound(f"There is no thread {missing[0]!r} to export.")
            rest = rest[met:]
            tally.advance(len(sizes), total(sizes.values()))


def looked(source: Source, stop: Stop, question: Callable[[Look], T]) -> T:
    """Ask a question of the store in one moment; it may be asked again. Raises StoreError."""
    for _ in range(ATTEMPTS):
        with suppress(Moved), source.look(stop) as look:
            return question(look)
    raise StoreBusy(f"{source.name} is written too often to be read without locks.")


def _read(thread_ids: Sequence[str], bundle: Making, stop: Stop, look: Look) -> tuple[int, dict[str, Size]]:
    """Read as many of the threads as there is time for; return their number, and the sizes of those found."""
    until = time.monotonic() + HOLD_SECONDS
    expected = {table: look.run(totals(look.dialect, table, thread_ids)) for table in look.tables}
    met, sealed = 0, {}
    with bundle.filling():
        for group in _groups(thread_ids, expected):
            stop.check()
            for table, held in expected.items():
                _read_table(look, table, [(id, held[id]) for id in group if id in held], bundle, stop)
            found = [id for id in group if any(id in held for held in expected.values())]
            sealed.update({thread_id: bundle.seal(thread_id) for thread_id in found})
            met += len(group)
            if time.monotonic() > until:
                break
    return met, sealed


def _groups(thread_ids: Sequence[str], expected: Mapping[Table, Mapping[str, Size]]) -> Iterator[list[str]]:
    """Part the threads into what is read together: as many as fit into a page, or a larger one alone."""
    group: list[str] = []
    weight = Size(0, 0)
    for thread_id in thread_ids:
        own = total(held[thread_id] for held in expected.values() if thread_id in held)
        if group and (weight.rows + own.rows > ROWS or weight.bytes + own.bytes > BYTES):
            yield group
            group, weight = [], Size(0, 0)
        group.append(thread_id)
        weight = total((weight, own))
    if group:
        yield group


def _read_table(
    look: Look, table: Table, threads: Sequence[tuple[str, Size]], bundle: Making, stop: Stop
) -> None:
    if not threads:
        return
    size = total(size for _, size in threads)
    if size.rows <= ROWS and size.bytes <= BYTES:
        ids = [thread_id for thread_id, _ in threads]
        bundle.held.add(table, look.run(all_rows(look.dialect, table, ids)))
        return
    [(thread_id, size)] = threads
    after, rows = None, 0
    while found := look.run(page(look.dialect, table, thread_id, after)):
        stop.check()
        bundle.held.add(table, ((thread_id, *row) for row in found))
        rows += len(found)
        after = found[-1][: len(table.key)]
    if rows != size.rows:
        raise CopyRefused(f"Rows of the thread {thread_id!r} in {table.name} have no key of their own.")


def _every(source: Source, stop: Stop) -> Iterator[list[str]]:
    """Return all threads, a few at a time."""
    after: str | None = None
    while True:
        ids = looked(source, stop, partial(_ids_after, after))
        if not all(isinstance(thread_id, str) for thread_id in ids):
            raise CopyRefused(
                "A thread's id is no text, so it cannot be exported.", advice="Name the threads to export."
            )
        yield ids
        if len(ids) < THREADS:
            return
        after = ids[-1]


def _ids_after(after: str | None, look: Look) -> list[Any]:
    bound = "" if after is None else f"WHERE thread_id > {look.dialect.mark}"
    tables = [IDS.format(table=table.name, after=bound, threads=THREADS) for table in look.tables]
    sql = f"{' UNION '.join(tables)} ORDER BY thread_id LIMIT {THREADS}"
    rows = look.run(_select(sql, [] if after is None else [after] * len(tables)))
    return [thread_id for (thread_id,) in rows]


def _select(sql: str, parameters: Sequence[str]) -> Operation[list[Row]]:
    return (yield Statement(sql, parameters))


def _chunks(thread_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(thread_ids), THREADS):
        yield thread_ids[start : start + THREADS]
