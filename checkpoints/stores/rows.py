"""The SQL that fetches rows within a budget of bytes, and the records made of them.

A row is looked up by its key, one statement each: within one hop that costs what a join would, and each
statement can be told what the ones before it have left of the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from checkpoints.sqlite.driver import Operation, Statement
from checkpoints.stores.records import CheckpointRow, WriteRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checkpoints.stores.schema import Schema

KIB, MIB = 1024, 1024 * 1024
METADATA_BYTES = MIB
MOST_WRITES = 20_000

# CASE leaves a value over the budget on its pages: length() of a BLOB needs only the header of its row. Casts
# because SQLite keeps any type in any column.
_CHECKPOINT = """
SELECT CAST(parent_checkpoint_id AS TEXT), CAST(type AS TEXT),
       CASE WHEN length(checkpoint) <= ?4 THEN CAST(checkpoint AS BLOB) END,
       CASE WHEN length(metadata) <= ?5 AND typeof(metadata) IN ('blob', 'text') THEN metadata END,
       ifnull(length(checkpoint), 0), ifnull(length(metadata) > ?5, 0)
FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = ?3
"""
_WRITES = """
SELECT CAST(task_id AS TEXT), CAST({task_path} AS TEXT), CAST(idx AS INTEGER),
       CAST(channel AS TEXT), CAST(type AS TEXT),
       CASE WHEN length(value) <= ?4 THEN CAST(value AS BLOB) END,
       ifnull(length(value), 0)
FROM {writes} WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = ?3
LIMIT ?5
"""

Key: TypeAlias = tuple[str, str, str]
"""Thread id, namespace and checkpoint id."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many bytes of content one row, and all rows together, may bring."""

    row: int
    page: int


def checkpoint_rows(keys: Iterable[Key], budget: Budget) -> Operation[dict[Key, CheckpointRow]]:
    """Fetch those of these checkpoints that there are, in the order of the keys."""
    found: dict[Key, CheckpointRow] = {}
    left = budget.page
    for key in keys:
        most = min(budget.row, left)
        rows = yield Statement(_CHECKPOINT, (*key, most, METADATA_BYTES))
        for parent, kind, blob, metadata, size, metadata_skipped in rows:
            found[key] = CheckpointRow(
                *key, parent, kind, blob, metadata, size, size > most, bool(metadata_skipped)
            )
            left -= len(blob or b"")
    return found


def write_rows(
    keys: Iterable[Key], budget: Budget, schema: Schema
) -> Operation[dict[Key, tuple[WriteRow, ...]]]:
    """Fetch the writes of these checkpoints, each in the saver's order, and at most `MOST_WRITES` of all."""
    sql = schema.sql(_WRITES)
    found: dict[Key, tuple[WriteRow, ...]] = {}
    left, room = budget.page, MOST_WRITES
    for key in keys:
        most = min(budget.row, left)
        rows = yield Statement(sql, (*key, most, room))
        if rows:
            writes = [
                WriteRow(key[2], task, path, idx, channel, kind, value, size, size > most)
                for task, path, idx, channel, kind, value, size in rows
            ]
            found[key] = tuple(sorted(writes, key=attrgetter("task_path", "task_id", "idx")))
            left -= sum(len(write.value or b"") for write in writes)
            room -= len(rows)
    return found
