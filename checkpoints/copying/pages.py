"""All rows of a thread, read in pages: stretches of a table's key that are bounded in rows and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.statements import Operation, Row, Statement
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checkpoints.copying.tables import Table

ROWS = 500
BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Dialect:
    """The SQL of one database.

    `mark` stands for a parameter, `sizes` say how the bytes of a column are counted without reading them, and
    `read` how a column is read, where that is not its name.
    """

    mark: str
    sizes: Mapping[str, str]
    read: Mapping[str, str]

    def total(self, table: Table) -> str:
        """Return the SQL that counts a thread's rows and bytes."""
        return f"SELECT count(*), coalesce(sum({self._size(table)}), 0) {self._of_thread(table)}"

    def totals(self, table: Table, threads: int) -> str:
        """Return the SQL that counts the rows and bytes of so many threads, each by itself."""
        counted = f"SELECT thread_id, count(*), coalesce(sum({self._size(table)}), 0)"
        return f"{counted} {self._of_threads(table, threads)} GROUP BY thread_id"

    def all_rows(self, table: Table, threads: int) -> str:
        """Return the SQL of all rows of so many threads, each after its thread's id."""
        return f"SELECT thread_id, {self._columns(table)} {self._of_threads(table, threads)}"

    def keys(self, table: Table, *, after: bool) -> str:
        """Return the SQL of the next keys, each with its size."""
        where = f"{self._of_thread(table)} {self._bound(table, '>') if after else ''}"
        order = ", ".join(table.key)
        return f"SELECT {self._size(table)}, {order} {where} ORDER BY {order} LIMIT {ROWS}"

    def rows(self, table: Table, *, after: bool) -> str:
        """Return the SQL of the rows up to a key."""
        columns = self._columns(table)
        where = f"{self._of_thread(table)} {self._bound(table, '>') if after else ''}"
        last, order = self._bound(table, "<="), ", ".join(table.key)
        return f"SELECT {columns} {where} {last} ORDER BY {order}"

    def _of_thread(self, table: Table) -> str:
        return f"FROM {table.name} WHERE thread_id = {self.mark}"

    def _of_threads(self, table: Table, threads: int) -> str:
        return f"FROM {table.name} WHERE thread_id IN ({', '.join([self.mark] * threads)})"

    def _columns(self, table: Table) -> str:
        return ", ".join(self.read.get(column, column) for column in table.columns)

    def _bound(self, table: Table, sign: str) -> str:
        return f"AND ({', '.join(table.key)}) {sign} ({', '.join([self.mark] * len(table.key))})"

    def _size(self, table: Table) -> str:
        return " + ".join(f"coalesce({self.sizes[column]}, 0)" for column in table.content)


def total(dialect: Dialect, table: Table, thread_id: str) -> Operation[Size]:
    """Count the thread's rows and bytes."""
    [(rows, size)] = yield Statement(dialect.total(table), (thread_id,))
    return Size(int(rows), int(size))


def page(dialect: Dialect, table: Table, thread_id: str, after: Row | None) -> Operation[list[Row]]:
    """Return the rows after a key, at least one if there is one; the key of the last continues."""
    begin = (thread_id, *(after or ()))
    keys = yield Statement(dialect.keys(table, after=after is not None), begin)
    if not keys:
        return []
    return (yield Statement(dialect.rows(table, after=after is not None), (*begin, *_last(keys))))


def _last(keys: list[Row]) -> Row:
    """Return the last key up to which the rows fit into a page."""
    left = BYTES - keys[0][0]
    last = keys[0]
    for key in keys[1:]:
        left -= key[0]
        if left < 0:
            break
        last = key
    return last[1:]


def totals(dialect: Dialect, table: Table, thread_ids: Sequence[str]) -> Operation[dict[str, Size]]:
    """Count the rows and bytes of each of these threads that has any in the table."""
    rows = yield Statement(dialect.totals(table, len(thread_ids)), thread_ids)
    return {thread_id: Size(int(rows), int(size)) for thread_id, rows, size in rows}


def all_rows(dialect: Dialect, table: Table, thread_ids: Sequence[str]) -> Operation[list[Row]]:
    """Return all rows of some small threads, each after its thread's id."""
    return (yield Statement(dialect.all_rows(table, len(thread_ids)), thread_ids))
