"""Deleting from a SQLite file what the newest checkpoints do not need."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from checkpoints.deleting.latest import Doomed, doomed
from checkpoints.deleting.order import Place
from checkpoints.errors import PruneRefused
from checkpoints.inert import InertSerializer
from checkpoints.sqlite.driver import run, transaction
from checkpoints.sqlite.tables import SqliteTables as SaverTables
from checkpoints.statements import Statement
from checkpoints.stores.records import Size
from checkpoints.stores.sqlite.deleting import SqliteTables, opening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from checkpoints.deleting.threads import Part
    from checkpoints.statements import Operation
    from checkpoints.stores.location import Location

_OF = "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
PLACE = f"""\
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id,
       ifnull(length(checkpoint), 0) + ifnull(length(metadata), 0) FROM checkpoints {_OF}"""
WRITTEN = f"SELECT count(*), ifnull(sum(length(value)), 0) FROM writes {_OF}"
DETACH = f"UPDATE checkpoints SET parent_checkpoint_id = NULL {_OF}"
# Writes of a call that is past, and of no checkpoint.
_LEFT_OVER = """\
FROM writes AS w WHERE w.thread_id = ?1 AND w.checkpoint_ns = ?2 AND NOT EXISTS (
    SELECT 1 FROM checkpoints AS c WHERE c.thread_id = ?1 AND c.checkpoint_ns = ?2
        AND c.checkpoint_id = w.checkpoint_id)"""
ANY_LEFT_OVER = f"SELECT 1 {_LEFT_OVER} LIMIT 1"
LEFT_OVER = f"DELETE FROM writes WHERE rowid IN (SELECT w.rowid {_LEFT_OVER} LIMIT ?3)"


class SqlitePruned(SqliteTables):
    """The tables, on a connection that writes."""

    def doomed(self, thread_id: str) -> Doomed:
        return run(self._conn, going(thread_id, writes=self._schema.writes))

    def places(self, thread_id: str, ns: str, ids: Sequence[str]) -> list[Place]:
        rows = (self._conn.execute(PLACE, (thread_id, ns, id)).fetchone() for id in ids)
        return [Place(*row) for row in rows if row]

    def detach(self, parts: Sequence[Part]) -> float:
        with transaction(self._conn):
            began = time.monotonic()
            keys = [(part.thread_id, part.place.ns, part.place.id) for part in parts]
            self._conn.executemany(DETACH, keys)
        return time.monotonic() - began

    def collect(self, thread_id: str, ns: str, limit: int, *, past: bool) -> tuple[Mapping[str, int], float]:
        key = (thread_id, ns)
        if not past or not self._schema.rowid or not self._conn.execute(ANY_LEFT_OVER, key).fetchone():
            return {}, 0.0
        return self._delete([("writes", LEFT_OVER, [(thread_id, ns, limit)])])


def going(thread_id: str, *, writes: bool = True) -> Operation[Doomed]:
    """Decide what goes of a thread of a file that has a table of writes. Raises PruneRefused."""
    if not writes:
        raise PruneRefused(
            "The file has no table of writes.", advice="An agent of a current LangGraph release makes it."
        )
    return (yield from doomed(SaverTables(InertSerializer.from_environment()), thread_id))


def staying(doomed: Doomed) -> Operation[dict[str, Size]]:
    """Return the rows and bytes that stay, by table."""
    sizes = {"checkpoints": Size(0, 0), "writes": Size(0, 0)}
    for ns, ids in doomed.kept.items():
        for id in ids:
            key = (doomed.thread_id, ns, id)
            rows = yield Statement(PLACE, key)
            [(number, size)] = yield Statement(WRITTEN, key)
            kept, written = sizes["checkpoints"], sizes["writes"]
            sizes["checkpoints"] = Size(kept.rows + len(rows), kept.bytes + sum(row[3] for row in rows))
            sizes["writes"] = Size(written.rows + number, written.bytes + size)
    return sizes


@contextmanager
def opened(location: Location) -> Iterator[SqlitePruned]:
    """Open the file to delete from it. Raises a StoreError."""
    with opening(location) as found:
        yield SqlitePruned(*found)
