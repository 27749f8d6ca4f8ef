"""What states are made of: some of a file's, spread evenly over its rows, taken apart by their bytes."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checkpoints.saver.needs import COUNTERS
from checkpoints.splicing import jsontext, msgpacked
from checkpoints.statements import Operation, Statement

if TYPE_CHECKING:
    from checkpoints.statements import Row
    from checkpoints.stores.sqlite.schema import Schema

STATES = 200
BYTES = 32 << 20
MOST = 4 << 20  # bytes of one
SECONDS = 1.0

_ENDS = "SELECT (SELECT min(rowid) FROM checkpoints), (SELECT max(rowid) FROM checkpoints)"
_STATE = f"""
SELECT rowid, CAST(thread_id AS TEXT), CAST(checkpoint_ns AS TEXT), type, ifnull(length(checkpoint), 0),
       CASE WHEN length(checkpoint) <= ?2 THEN CAST(checkpoint AS BLOB) END,
       instr(CAST(metadata AS BLOB), CAST('{COUNTERS}' AS BLOB))
FROM checkpoints WHERE rowid >= ?1 ORDER BY rowid LIMIT 1
"""

REST = "versions, ids and the like"
SEALED = "encrypted states"
UNREADABLE = "states that cannot be read"
LARGE = "states too large to be looked into"


@dataclass
class States:
    """What the states that were taken apart are made of, in bytes."""

    channels: Counter[str] = field(default_factory=Counter)
    ours: Counter[str] = field(default_factory=Counter)
    rows: list[tuple[str, str]] = field(default_factory=list)  # thread and namespace of each
    weight: int = 0  # bytes
    deltas: bool = False

    def add(self, row: Row) -> None:
        _, thread_id, ns, kind, size, blob, counts_deltas = row
        self.rows.append((thread_id, ns))
        self.weight += size
        self.deltas = self.deltas or bool(counts_deltas)
        if size and blob is None:
            self.ours[LARGE] += size
        elif "+" in (kind or ""):
            self.ours[SEALED] += size
        elif blob:
            self._take_apart(kind, blob)

    def _take_apart(self, kind: str | None, blob: bytes) -> None:
        try:
            values = _values(kind, blob)
        except (ValueError, RecursionError):
            self.ours[UNREADABLE] += len(blob)
            return
        self.channels.update(values)
        self.ours[REST] += len(blob) - sum(values.values())


def sampled(schema: Schema) -> Operation[States]:
    """Take states apart that are spread evenly over the rows."""
    states = States()
    if not schema.rowid:
        return states
    [(first, last)] = yield Statement(_ENDS)
    if first is None:
        return states
    until = time.monotonic() + SECONDS
    met = first - 1
    for place in range(STATES):
        at = max(met + 1, first + (last - first) * place // STATES)
        rows = yield Statement(_STATE, (at, MOST))
        if not rows or states.weight > BYTES or time.monotonic() > until:
            break
        met = rows[0][0]
        states.add(rows[0])
    return states


def _values(kind: str | None, blob: bytes) -> dict[str, int]:
    """Return the bytes of each channel's value in a state. Raises ValueError for one of another kind."""
    if kind == "msgpack":
        held = msgpacked.members(blob).get("channel_values", msgpacked.NIL)
        parts = msgpacked.members(held) if held != msgpacked.NIL else {}
        return {name: len(value) for name, value in parts.items()}
    if kind == "json":
        text = jsontext.members(blob.decode()).get("channel_values", "null")
        values = jsontext.members(text) if text != "null" else {}
        return {name: len(value.encode()) for name, value in values.items()}
    raise ValueError("its values are not apart")
