"""Reads a whole file, a quarter of a second at a time, to tell whether all of it can be read."""

from __future__ import annotations

import os
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final

from checkpoints.diagnosis import Diagnosis
from checkpoints.errors import StoreBusy, StoreError
from checkpoints.examination import Examination
from checkpoints.stores.sqlite.connection import connect, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.inert import InertSerializer
    from checkpoints.stores.location import Location
    from checkpoints.stores.sqlite.schema import Schema

# How long one connection reads: meanwhile the agent cannot shorten its WAL, or without a WAL cannot write.
HOLD_SECONDS: Final = 0.25
ATTEMPTS: Final = 3

# Both go by key, so that a walk can stop anywhere and go on with a connection of its own.
NAMESPACES: Final = """
SELECT thread_id, checkpoint_ns FROM checkpoints WHERE (thread_id, checkpoint_ns) >= (?1, ?2)
GROUP BY thread_id, checkpoint_ns ORDER BY thread_id, checkpoint_ns
"""
ROWS: Final = """
SELECT {key}, type, ifnull(length({value}), 0),
       CASE WHEN length({value}) <= {most} THEN CAST({value} AS BLOB) END, {metadata}
FROM {table} WHERE ({key}) > ({start}) ORDER BY {key}
"""
# What rows are walked by, and what is before the first of them; without rowids the primary key.
ROWID: Final = ("rowid",), (-(2**63),)
KEYS: Final[dict[str, tuple[tuple[str, ...], tuple[Any, ...]]]] = {
    "checkpoints": (("thread_id", "checkpoint_ns", "checkpoint_id", "'row'"), ("", "", "", "")),
    "writes": (("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"), ("", "", "", "", -(2**63))),
}
METADATA: Final = "CASE WHEN length(metadata) <= {most} THEN metadata END"


def diagnose(location: Location, serde: InertSerializer) -> Diagnosis:
    """Read a whole file. Raises StoreError where it cannot be opened or keeps changing."""
    for _ in range(ATTEMPTS - 1):
        with suppress(StoreBusy):
            return _diagnosed(location, serde)
    return _diagnosed(location, serde)


def _diagnosed(location: Location, serde: InertSerializer) -> Diagnosis:
    with named(location.name):
        conn, opening, schema = connect(location)
        conn.close()
    names = ("checkpoints", "writes") if schema.writes else ("checkpoints",)
    examinations = [_Walked(name, schema, serde) for name in names]
    ended = [problem for each in examinations if (problem := each.run(location))]
    threads, namespaces, uncounted = _count(location)
    return Diagnosis(
        name=location.name,
        era=_era(schema, examinations[0]),
        journal_mode=opening.journal_mode,
        bytes=_size(location.path),
        wal_bytes=_size(f"{location.path}-wal"),
        threads=threads,
        namespaces=namespaces,
        tables=tuple(each.table() for each in examinations),
        problems=(*ended, *uncounted, *(problem for each in examinations for problem in each.problems())),
    )


class _Walked(Examination):
    """A table of a file."""

    def __init__(self, name: str, schema: Schema, serde: InertSerializer) -> None:
        super().__init__(name, serde)
        self._key, self._start = ROWID if schema.rowid else KEYS[name]

    def run(self, location: Location) -> str | None:
        """Look at every row. Return the problem of the file that ended the look early, if one did.

        Raises StoreBusy: what was seen of a file that is changing means nothing.
        """
        try:
            for row in _walk(location, self._sql(), self._start):
                self.look(*row[len(self._key) :])
        except StoreBusy:
            raise
        except StoreError as error:
            return f"Not all of {self.name} was read: {error.sentence}"
        return None

    def _sql(self) -> str:
        checkpoints, most = self.name == "checkpoints", self.serde.budget.bytes
        return ROWS.format(
            table=self.name,
            key=", ".join(self._key),
            start=", ".join("?" * len(self._key)),
            value="checkpoint" if checkpoints else "value",
            most=most,
            metadata=METADATA.format(most=most) if checkpoints else "NULL",
        )


def _walk(location: Location, sql: str, key: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield all rows, whose first columns are the key, over as many short connections as it takes."""
    more = True
    while more:
        with named(location.name):
            conn, opening, _ = connect(location)
            with closing(conn):
                until, more = time.monotonic() + HOLD_SECONDS, False
                for row in conn.execute(sql, key):
                    yield row
                    at = row[: len(key)]
                    if more := at != key and time.monotonic() > until:
                        key = at
                        break
        if opening.moved():
            raise StoreBusy(f"{location.name} changed while it was read.")


def _count(location: Location) -> tuple[int | None, int | None, tuple[str, ...]]:
    """Count threads and namespaces, or say why not. Raises StoreBusy."""
    threads = namespaces = 0
    last: tuple[Any, ...] = (None, None)
    try:
        for row in _walk(location, NAMESPACES, ("", "")):
            # A walk may yield one twice where it changes its connection.
            threads += row[0] != last[0]
            namespaces += row != last
            last = row
    except StoreBusy:
        raise
    except StoreError as error:
        return None, None, (f"Threads and namespaces were not counted: {error.sentence}",)
    return threads, namespaces, ()


def _era(schema: Schema, checkpoints: Examination) -> str:
    types = checkpoints.table().types
    if schema.task_path:
        return "langgraph-checkpoint-sqlite after 3.1.0 (task_path)"
    if checkpoints.javascript:
        return "LangGraph.js"
    if set(types) == {"json"}:
        return "langgraph-checkpoint-sqlite 1.0 (JSON rows)"
    return "langgraph-checkpoint-sqlite 1.0 to 3.1.0"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
