"""Reads a whole store to tell what it is and whether all of it can be read."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final

from checkpoints.diagnosis import Diagnosis, Table
from checkpoints.errors import StoreBusy, StoreError
from checkpoints.inert import (
    Constructed,
    Deferred,
    DeltaSnapshot,
    Encrypted,
    Extension,
    InertSerializer,
    Pickled,
    Rotten,
    Unreadable,
)
from checkpoints.stores.sqlite.connection import connect, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.stores.location import Location
    from checkpoints.stores.sqlite.schema import Schema

# How long one connection reads: meanwhile the agent cannot shorten its WAL, or without a WAL cannot write.
HOLD_SECONDS: Final = 0.25
ATTEMPTS: Final = 3
ROW_SECONDS: Final = 2.0
TOO_DEEP: Final = "too deep"
TYPES: Final = frozenset({"msgpack", "json", "null", "bytes", "bytearray", "pickle"})
NUMBER: Final = re.compile(r"(?<![-\w])\d[\d,]*")

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


def diagnose(location: Location, serde: InertSerializer | None = None) -> Diagnosis:
    """Read a whole store, row by row. Raises StoreError where it cannot be opened or keeps changing.

    Nothing is kept but counts, so a store of any size takes the memory of its largest row.
    """
    serde = serde or InertSerializer.from_environment()
    for _ in range(ATTEMPTS - 1):
        with suppress(StoreBusy):
            return _diagnosed(location, serde)
    return _diagnosed(location, serde)


def _diagnosed(location: Location, serde: InertSerializer) -> Diagnosis:
    with named(location.name):
        conn, opening, schema = connect(location)
        conn.close()
    names = ("checkpoints", "writes") if schema.writes else ("checkpoints",)
    examinations = [_Examination(name, schema, serde) for name in names]
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


class _Examination:
    """Counts the rows of one table."""

    def __init__(self, name: str, schema: Schema, serde: InertSerializer) -> None:
        self.name = name
        self._key, self._start = ROWID if schema.rowid else KEYS[name]
        self.javascript = False
        self._serde = serde
        self._rows = self._bytes = self._largest = 0
        self._types: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()
        self._rotten: Counter[str] = Counter()

    def run(self, location: Location) -> str | None:
        """Look at every row. Return the problem of the file that ended the look early, if one did.

        Raises StoreBusy: what was seen of a file that is changing means nothing.
        """
        try:
            for row in _walk(location, self._sql(), self._start):
                self._look(*row[len(self._key) :])
        except StoreBusy:
            raise
        except StoreError as error:
            return f"Not all of {self.name} was read: {error.sentence}"
        return None

    def _sql(self) -> str:
        checkpoints, most = self.name == "checkpoints", self._serde.budget.bytes
        return ROWS.format(
            table=self.name,
            key=", ".join(self._key),
            start=", ".join("?" * len(self._key)),
            value="checkpoint" if checkpoints else "value",
            most=most,
            metadata=METADATA.format(most=most) if checkpoints else "NULL",
        )

    def table(self) -> Table:
        return Table(
            self.name,
            self._rows,
            self._bytes,
            self._largest,
            dict(self._types),
            dict(self._closed),
            dict(self._rotten),
        )

    def problems(self) -> Iterator[str]:
        for reason, rows in self._rotten.items():
            yield f"{rows:,} of {self._rows:,} rows of {self.name}: {reason}."

    def _look(self, type: str | None, size: int, value: bytes | None, metadata: bytes | str | None) -> None:
        self._rows += 1
        self._bytes += size
        self._largest = max(self._largest, size)
        self._types[_known(type)] += 1
        self._look_into(type, size, value)
        if isinstance(read := self._serde.loads_metadata(metadata), Rotten):
            self._rotten[f"metadata: {_general(read.reason)}"] += 1

    def _look_into(self, type: str | None, size: int, value: bytes | None) -> None:
        if value is None and size:
            self._closed["too large"] += 1
            return
        match loaded := self._serde.loads_typed((type, value)):
            case Encrypted():
                self._closed["encrypted"] += 1
            case Pickled():
                self._closed["pickled"] += 1
            case _:
                self._note(_damage(loaded))
        if isinstance(loaded, dict) and type == "json":
            # JavaScript writes the time as 2026-11-20T10:32:12.614Z, Python with an offset.
            self.javascript |= str(loaded.get("ts", "")).endswith("Z")

    def _note(self, damage: str | None) -> None:
        if damage == TOO_DEEP:
            self._closed[damage] += 1
        elif damage:
            self._rotten[_general(damage)] += 1


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


def _damage(value: Any) -> str | None:
    """Return why some part of a value cannot be read, None when all of it can."""
    parts, until = [value], time.monotonic() + ROW_SECONDS
    while parts:
        match parts.pop():
            case Rotten(reason=reason) | Unreadable(reason=reason):
                return reason
            case Extension() | Deferred() as closed:
                parts.append(closed.open())
            case Constructed(payload=inner) | DeltaSnapshot(value=inner):
                parts.append(inner)
            case dict() as mapping:
                parts.extend(mapping.values())
            case list() | tuple() as sequence:
                parts.extend(sequence)
        if time.monotonic() > until:
            return TOO_DEEP
    return None


def _era(schema: Schema, checkpoints: _Examination) -> str:
    types = checkpoints.table().types
    if schema.task_path:
        return "langgraph-checkpoint-sqlite after 3.1.0 (task_path)"
    if checkpoints.javascript:
        return "LangGraph.js"
    if set(types) == {"json"}:
        return "langgraph-checkpoint-sqlite 1.0 (JSON rows)"
    return "langgraph-checkpoint-sqlite 1.0 to 3.1.0"


def _known(type: str | None) -> str:
    """Name a row's type; one that no release writes may be anybody's text."""
    if type is None:
        return "NULL"
    return type if str(type).removesuffix("+aes") in TYPES else "unknown"


def _general(reason: str) -> str:
    """Leave out numbers, so that rows with the same trouble count as one kind."""
    return NUMBER.sub("…", reason)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
