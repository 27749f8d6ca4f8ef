"""The SQL that fetches rows within a budget of bytes, and the records made of them.

A row is looked up by its key, one statement each: within one hop that costs what a join would, and each
statement can be told what the ones before it have left of the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
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
       ifnull(length(checkpoint), 0), ifnull(length(checkpoint) > ?4, 0), ifnull(length(metadata) > ?5, 0)
FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = ?3
"""
_WRITES = """
SELECT CAST(task_id AS TEXT), CAST({task_path} AS TEXT), CAST(idx AS INTEGER),
       CAST(channel AS TEXT), CAST(type AS TEXT),
       CASE WHEN length(value) <= ?4 THEN CAST(value AS BLOB) END,
       ifnull(length(value), 0), ifnull(length(value) > ?4, 0)
FROM {writes} WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = ?3
ORDER BY {task_path}, task_id, idx LIMIT ?5
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
        rows = yield Statement(_CHECKPOINT, (*key, min(budget.row, left), METADATA_BYTES))
        for row in rows:
            found[key] = CheckpointRow(*key, *row[:-2], *map(bool, row[-2:]))
            left -= len(found[key].blob or b"")
    return found


def write_rows(
    keys: Iterable[Key], budget: Budget, schema: Schema
) -> Operation[dict[Key, tuple[WriteRow, ...]]]:
    """Fetch the writes of these checkpoints, each in the saver's order, and at most `MOST_WRITES` of all."""
    sql = schema.sql(_WRITES)
    found: dict[Key, tuple[WriteRow, ...]] = {}
    left, room = budget.page, MOST_WRITES
    for key in keys:
        rows = yield Statement(sql, (*key, min(budget.row, left), room))
        if rows:
            found[key] = tuple(WriteRow(key[2], *row[:-1], *map(bool, row[-1:])) for row in rows)
            left -= sum(len(write.value or b"") for write in found[key])
            room -= len(rows)
    return found
