"""Finding the checkpoints that a run stored."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from checkpoints.saver.jsontext import decode_json
from checkpoints.saver.runs import as_ids, delete
from checkpoints.sqlite.operations import select

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checkpoints.sqlite.tables import SqliteTables
    from checkpoints.statements import Operation, Row

PAGE = 5_000  # rows; some milliseconds
FIRST_ROWID = -(2**63)

NEXT_PAGE = "SELECT max(rowid) FROM (SELECT rowid FROM checkpoints WHERE rowid > ? ORDER BY rowid LIMIT ?)"
# Metadata that SQLite takes for no JSON, as with Python's NaN, is read in Python. CASE goes in order.
CONDITION = """\
CASE WHEN json_valid(CAST(metadata AS TEXT))
THEN CAST(json_extract(CAST(metadata AS TEXT), '$.run_id') AS TEXT) IN (SELECT value FROM json_each(?))
ELSE instr(CAST(metadata AS BLOB), CAST('run_id' AS BLOB)) END"""
UNREAD = "CASE WHEN NOT json_valid(CAST(metadata AS TEXT)) THEN CAST(metadata AS BLOB) END"
ROWS = "FROM checkpoints WHERE"
FOUND = f"SELECT {UNREAD}, rowid {ROWS} {CONDITION} AND rowid > ? AND rowid <= ?"
AGAIN = "(rowid > ? OR rowid IN (SELECT value FROM json_each(?)))"
CONFIRMED = f"SELECT {UNREAD}, thread_id, checkpoint_ns, checkpoint_id {ROWS} {CONDITION} AND {AGAIN}"


class RunSearch:
    """Finds the checkpoints of runs before any lock, page by page: no index knows runs, so all are read."""

    def __init__(self, tables: SqliteTables, run_ids: Iterable[str]) -> None:
        self._tables = tables
        self._run_ids = as_ids(run_ids)
        self._found: list[int] = []
        self._read = self._certain = FIRST_ROWID
        self.ended = not self._run_ids

    def page(self) -> Operation[None]:
        """Read the next page."""
        pages = yield from select(NEXT_PAGE, (self._read, PAGE))
        last = pages[0][0] if pages else None
        if last is None:
            self.ended = True
            return
        self._found += [rowid for (rowid,) in (yield from self._select(FOUND, self._read, last))]
        self._certain, self._read = self._read, last

    def delete(self) -> Operation[None]:
        """Delete what was found and is still there, and what the runs have stored since.

        Raises HistoryNeeded, before anything is deleted.
        """
        # The last page anew: SQLite gives the greatest rowids to others when their rows are deleted.
        found = yield from self._select(CONFIRMED, self._certain, json.dumps(self._found))
        yield from delete(self._tables, found)

    def _select(self, sql: str, *parameters: Any) -> Operation[list[Row]]:
        rows = yield from select(sql, (json.dumps(list(self._run_ids)), *parameters))
        return [row[1:] for row in rows if row[0] is None or self._is_of_runs(row[0])]

    def _is_of_runs(self, raw: bytes) -> bool:
        with suppress(ValueError):  # metadata that is no JSON either way names no run
            metadata = decode_json(self._tables.serde, raw)
            run_id = metadata.get("run_id") if isinstance(metadata, dict) else None
            return run_id is not None and str(run_id) in self._run_ids
        return False
