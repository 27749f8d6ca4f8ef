"""Runs: finding the checkpoints that a run stored, and deleting them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from checkpoints.errors import HistoryNeeded
from checkpoints.sqlite.lineage import needed
from checkpoints.sqlite.operations import BY_ID, delete_checkpoints, select

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.sqlite.driver import Operation

PAGE = 5_000  # rows; some milliseconds
FIRST_ROWID = -(2**63)

NEXT_PAGE = "SELECT max(rowid) FROM (SELECT rowid FROM checkpoints WHERE rowid > ? ORDER BY rowid LIMIT ?)"
# CASE is evaluated in order: json_extract fails on metadata that is no JSON.
FOUND = """\
SELECT rowid FROM checkpoints WHERE rowid > ? AND rowid <= ?
AND CASE WHEN json_valid(CAST(metadata AS TEXT))
    THEN json_extract(CAST(metadata AS TEXT), '$.run_id') IN (SELECT value FROM json_each(?)) END"""
CONFIRMED = """\
SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints
WHERE (rowid IN (SELECT value FROM json_each(?)) OR rowid > ?)
AND CASE WHEN json_valid(CAST(metadata AS TEXT))
    THEN json_extract(CAST(metadata AS TEXT), '$.run_id') IN (SELECT value FROM json_each(?)) END"""
CHILDREN = """\
SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?
AND parent_checkpoint_id IN (SELECT value FROM json_each(?))
AND checkpoint_id NOT IN (SELECT value FROM json_each(?))"""


class RunSearch:
    """Finds the checkpoints of runs before any lock, page by page: no index knows runs, so all are read."""

    def __init__(self, run_ids: Iterable[str]) -> None:
        self._run_ids = json.dumps([str(run_id) for run_id in run_ids])
        self._found: list[int] = []
        self._read = FIRST_ROWID
        self.ended = self._run_ids == "[]"

    def page(self) -> Operation[None]:
        """Read the next page."""
        pages = yield from select(NEXT_PAGE, (self._read, PAGE))
        last = pages[0][0] if pages else None
        if last is None:
            self.ended = True
            return
        found = yield from select(FOUND, (self._read, last, self._run_ids))
        self._found += [rowid for (rowid,) in found]
        self._read = last

    def delete(self, serde: SerializerProtocol) -> Operation[None]:
        """Delete what was found, and what the runs have stored since.

        Raises HistoryNeeded, before anything is deleted.
        """
        wanted = (json.dumps(self._found), self._read, self._run_ids)
        namespaces: dict[tuple[str, str], list[str]] = {}
        for thread_id, checkpoint_ns, checkpoint_id in (yield from select(CONFIRMED, wanted)):
            namespaces.setdefault((thread_id, checkpoint_ns), []).append(checkpoint_id)
        for namespace, ids in namespaces.items():
            yield from _check(serde, *namespace, ids)
        for namespace, ids in namespaces.items():
            yield from delete_checkpoints(*namespace, ids)


def _check(
    serde: SerializerProtocol, thread_id: str, checkpoint_ns: str, ids: Sequence[str]
) -> Operation[None]:
    """Raise HistoryNeeded when a checkpoint that stays would lose content with these."""
    deleted = json.dumps(ids)
    for (child,) in (yield from select(CHILDREN, (thread_id, checkpoint_ns, deleted, deleted))):
        row = (yield from select(BY_ID, (thread_id, checkpoint_ns, child)))[0]
        if not set(ids).isdisjoint((yield from needed(serde, row))):
            raise HistoryNeeded(f"In thread {thread_id!r}, checkpoint {child} goes on from these runs.")
