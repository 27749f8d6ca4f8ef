"""The SQL that fetches rows within a byte budget, and the records made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoints.sqlite.driver import Operation, Row, Statement
from checkpoints.stores.records import CheckpointRow, WriteRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores.schema import Schema

KIB, MIB = 1024, 1024 * 1024
METADATA_BYTES = MIB
MOST_WRITES = 20_000

# `keys` yields thread_id, checkpoint_ns and checkpoint_id; its own parameters begin at ?3, after the budget.
# Sizes are summed before any content is read: length() of a BLOB needs only the header of its row.
_CHECKPOINTS = """
WITH keys AS ({keys}), sized AS (
    SELECT thread_id, checkpoint_ns, checkpoint_id, ifnull(length(checkpoint), 0) AS size
    FROM keys CROSS JOIN checkpoints USING (thread_id, checkpoint_ns, checkpoint_id)
), fitted AS (
    SELECT *, size <= ?1 AND sum(CASE WHEN size <= ?1 THEN size END) OVER spent <= ?2 AS fits
    FROM sized WINDOW spent AS (ORDER BY checkpoint_id DESC ROWS UNBOUNDED PRECEDING)
)
SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type,
       CASE WHEN fits THEN CAST(checkpoint AS BLOB) END,
       CASE WHEN length(metadata) <= {metadata_bytes} THEN metadata END,
       size, NOT fits, ifnull(length(metadata) > {metadata_bytes}, 0)
FROM fitted CROSS JOIN checkpoints USING (thread_id, checkpoint_ns, checkpoint_id)
ORDER BY checkpoint_id DESC
"""
_WRITES = """
WITH keys AS ({keys}), sized AS (
    SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, {task_path} AS path, idx, channel, type, value,
           ifnull(length(value), 0) AS size
    FROM keys CROSS JOIN {writes} USING (thread_id, checkpoint_ns, checkpoint_id)
    LIMIT {most_writes}
)
SELECT thread_id, checkpoint_id, task_id, path, idx, channel, type,
       CASE WHEN fits THEN value END, size, NOT fits
FROM (SELECT thread_id, checkpoint_id, task_id, path, idx, channel, type, size,
             CASE WHEN size <= ?1 THEN CAST(value AS BLOB) END AS value,
             size <= ?1 AND sum(CASE WHEN size <= ?1 THEN size END) OVER spent <= ?2 AS fits
      FROM sized
      WINDOW spent AS (ORDER BY checkpoint_id DESC, path, task_id, idx ROWS UNBOUNDED PRECEDING))
ORDER BY checkpoint_id DESC, path, task_id, idx
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many bytes of content one row, and all rows of a statement together, may bring."""

    row: int
    page: int


@dataclass(frozen=True, slots=True)
class Keys:
    """A SELECT of thread_id, checkpoint_ns and checkpoint_id; its parameters are ?3, ?4 and so on."""

    sql: str
    parameters: Sequence[Any]


def checkpoint_rows(keys: Keys, budget: Budget) -> Operation[list[CheckpointRow]]:
    """Fetch the checkpoints of these keys, greatest id first."""
    sql = _CHECKPOINTS.format(keys=keys.sql, metadata_bytes=METADATA_BYTES)
    rows = yield Statement(sql, (budget.row, budget.page, *keys.parameters))
    return [_checkpoint(row) for row in rows]


def write_rows(
    keys: Keys, budget: Budget, schema: Schema
) -> Operation[dict[tuple[str, str], tuple[WriteRow, ...]]]:
    """Fetch the writes of these keys, by thread and checkpoint id, each in the saver's order."""
    sql = schema.sql(_WRITES, keys=keys.sql, most_writes=MOST_WRITES)
    rows = yield Statement(sql, (budget.row, budget.page, *keys.parameters))
    found: dict[tuple[str, str], list[WriteRow]] = {}
    for thread_id, *row in rows:
        write = _write(row)
        found.setdefault((text(thread_id), write.checkpoint_id), []).append(write)
    return {key: tuple(writes) for key, writes in found.items()}


def text(stored: Any) -> str:
    """Return a stored id as text, whatever type the row gave it."""
    if isinstance(stored, bytes):
        return stored.decode(errors="replace")
    return "" if stored is None else str(stored)


def _checkpoint(row: Row) -> CheckpointRow:
    thread_id, ns, checkpoint_id, parent_id, kind, blob, metadata, size, skipped, metadata_skipped = row
    return CheckpointRow(
        thread_id=text(thread_id),
        checkpoint_ns=text(ns),
        checkpoint_id=text(checkpoint_id),
        parent_checkpoint_id=None if parent_id is None else text(parent_id),
        type=None if kind is None else text(kind),
        blob=blob,
        metadata=metadata if isinstance(metadata, bytes | str | None) else str(metadata),
        size=size,
        skipped=bool(skipped),
        metadata_skipped=bool(metadata_skipped),
    )


def _write(row: Sequence[Any]) -> WriteRow:
    checkpoint_id, task_id, task_path, idx, channel, kind, value, size, skipped = row
    return WriteRow(
        checkpoint_id=text(checkpoint_id),
        task_id=text(task_id),
        task_path=text(task_path),
        idx=idx if isinstance(idx, int) else 0,
        channel=text(channel),
        type=None if kind is None else text(kind),
        value=value,
        size=size,
        skipped=bool(skipped),
    )
