"""The SQL that fetches rows within a budget of bytes, and the records made of them.

A row is looked up by its key, one statement each: within one hop that costs what a join would, and each
statement can be told what the ones before it have left of the budget.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from checkpoints.statements import Operation, Statement
from checkpoints.stores.budget import METADATA_BYTES, MOST_WRITES, NAME_CHARACTERS
from checkpoints.stores.records import CheckpointRow, WriteRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checkpoints.stores.budget import Budget
    from checkpoints.stores.sqlite.schema import Schema


def _name(column: str) -> str:
    """Read a column of names as text of bounded length: a default of a megabyte stands in no row."""
    return f"substr(CAST({column} AS TEXT), 1, {NAME_CHARACTERS})"


def size_of(column: str) -> str:
    """Return the SQL of a value's length in bytes, NULL where there is none."""
    return (
        f"(CASE typeof({column}) WHEN 'text' THEN length(CAST({column} AS BLOB)) ELSE length({column}) END)"
    )


STORED_ID = """ifnull(CAST(checkpoint_id AS TEXT), ''), typeof(checkpoint_id) = 'blob',
       ifnull(CAST(checkpoint_id AS BLOB), x'')"""
ID = "CASE WHEN ?4 THEN CAST(?3 AS TEXT) ELSE ?3 END"
# CASE leaves a value over the budget on its pages: length() of a BLOB needs only the header of its row; that
# of a text ends at a NUL. Casts because SQLite keeps any type in any column, NULL where a table allows it.
_COLUMNS = """
SELECT {stored_id}, {parent}, {type},
       CASE WHEN {size} <= ?5 THEN CAST(checkpoint AS BLOB) END,
       CASE WHEN {metadata_size} <= ?6 AND typeof(metadata) IN ('blob', 'text') THEN metadata END,
       ifnull({size}, 0), ifnull({metadata_size} > ?6, 0)
FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2
""".format(
    stored_id=STORED_ID,
    parent=_name("parent_checkpoint_id"),
    type=_name("type"),
    size=size_of("checkpoint"),
    metadata_size=size_of("metadata"),
)
BY_ID = f"{_COLUMNS} AND checkpoint_id = {ID}"
HEAD = f"{_COLUMNS} ORDER BY checkpoint_id DESC LIMIT 1"
FIRST = f"{_COLUMNS} ORDER BY checkpoint_id LIMIT 1"
_WRITES = """
SELECT ifnull({task_id}, ''), ifnull({path}, ''), ifnull(CAST(idx AS INTEGER), 0),
       ifnull({channel}, ''), {type},
       CASE WHEN {size} <= ?5 THEN CAST(value AS BLOB) END,
       ifnull({size}, 0)
FROM {writes} WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = {id}
LIMIT ?6
"""
_UNCLEAN = re.compile(r"(?P<type>text|blob):(?P<raw>(?:[0-9a-f]{2})*)")


class StoredId(NamedTuple):
    """A checkpoint id as the database holds it: bytes where it is a BLOB, or text that is no UTF-8."""

    value: str | bytes
    text: bool = True

    @classmethod
    def of(cls, text: str, blob: bool, raw: bytes) -> StoredId:
        """Make it of the columns `STORED_ID`."""
        return cls(raw, not blob) if blob or "\ufffd" in text else cls(text)

    @classmethod
    def of_key(cls, key: str) -> StoredId:
        if unclean := _UNCLEAN.fullmatch(key):
            return cls(bytes.fromhex(unclean["raw"]), unclean["type"] == "text")
        return cls(key)

    @property
    def key(self) -> str:
        """What pages go by: the id, or in hexadecimal what no address can hold."""
        if isinstance(self.value, str) and self.value and not _UNCLEAN.fullmatch(self.value):
            return self.value
        raw = self.value if isinstance(self.value, bytes) else self.value.encode()
        return f"{'text' if self.text else 'blob'}:{raw.hex()}"

    @property
    def shown(self) -> str:
        return self.value if isinstance(self.value, str) else self.value.decode(errors="replace")


Key: TypeAlias = tuple[str, str, StoredId]
"""Thread id, namespace and checkpoint id."""


def checkpoint_rows(
    keys: Iterable[Key], budget: Budget, sql: str = BY_ID
) -> Operation[dict[Key, CheckpointRow]]:
    """Fetch those of these checkpoints that there are, in the order of the keys.

    With `HEAD` or `FIRST` it is the checkpoint at that end of the key's namespace, whatever the key's id.
    """
    found: dict[Key, CheckpointRow] = {}
    left = budget.page
    for key in keys:
        thread_id, ns, id = key
        most = min(budget.row, left)
        rows = yield Statement(sql, (thread_id, ns, *id, most, METADATA_BYTES))
        for *stored, parent, kind, blob, metadata, size, metadata_skipped in rows:
            id = StoredId.of(*stored)
            found[thread_id, ns, id] = CheckpointRow(
                thread_id,
                ns,
                id.shown,
                parent,
                kind,
                blob,
                metadata,
                size,
                size > most,
                bool(metadata_skipped),
            )
            left -= len(blob or b"") + len(metadata or b"")
    return found


def write_rows(
    keys: Iterable[Key], budget: Budget, schema: Schema
) -> Operation[dict[Key, tuple[WriteRow, ...]]]:
    """Fetch the writes of these checkpoints, each in the saver's order, and at most `MOST_WRITES` of all."""
    names = {name: _name(name) for name in ("task_id", "channel", "type")}
    sql = schema.sql(_WRITES, id=ID, path=_name(schema.sql("{task_path}")), size=size_of("value"), **names)
    found: dict[Key, tuple[WriteRow, ...]] = {}
    left, room = budget.page, MOST_WRITES
    for key in keys:
        thread_id, ns, id = key
        most = min(budget.row, left)
        rows = yield Statement(sql, (thread_id, ns, *id, most, room))
        if rows:
            writes = [
                WriteRow(id.shown, task, path, idx, channel, kind, value, size, size > most)
                for task, path, idx, channel, kind, value, size in rows
            ]
            found[key] = tuple(sorted(writes, key=attrgetter("task_path", "task_id", "idx")))
            left -= sum(len(write.value or b"") for write in writes)
            room -= len(rows)
    return found
