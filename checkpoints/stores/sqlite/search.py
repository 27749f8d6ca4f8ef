"""Threads by the metadata of any of their checkpoints."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from checkpoints.statements import Operation, Row, Statement
from checkpoints.stores.budget import METADATA_BYTES
from checkpoints.stores.sqlite.listing import Entry, Listing, row_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores.records import Search
    from checkpoints.stores.sqlite.schema import Schema

CHUNK = 2_000  # rows looked at by one statement
SEARCH_SECONDS = 2.0
_PLAIN = re.compile(r"(?!-?\d+\.\d+(?:e[+-]?\d+)?$)[A-Za-z0-9_.@-]+")  # not of a fraction: 1.5 may be 15e-1

# json_each, unlike a path, takes every key as it is. A row without readable JSON matches nothing. CASE where
# AND would evaluate both sides: the bytes alone tell most rows.
MATCHES = """
CASE WHEN instr(CAST(metadata AS BLOB), ?4) THEN EXISTS (
    SELECT 1
    FROM json_each(CASE WHEN length(metadata) <= ?3 AND json_valid(CAST(metadata AS TEXT))
                        THEN CAST(metadata AS TEXT) ELSE '{}' END) m
    WHERE m.key = ?1 AND ?2 = CASE m.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'
                                          WHEN 'null' THEN 'null' ELSE CAST(m.value AS TEXT) END)
END
"""
_WALK = """
SELECT rowid, CAST(thread_id AS TEXT), CASE WHEN instr(lower(thread_id), lower(?5)) THEN {matches} END
FROM checkpoints WHERE rowid BETWEEN 1 AND ?6 ORDER BY rowid DESC LIMIT ?7
""".replace("{matches}", MATCHES)
_LATEST_MATCHES = """
SELECT p.value FROM json_each(?5) p CROSS JOIN checkpoints c ON c.rowid = p.value
WHERE NOT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = c.thread_id AND rowid > c.rowid AND {matches})
""".replace("{matches}", MATCHES)


def metadata_listing(schema: Schema, search: Search, before: int | None, limit: int) -> Operation[Listing]:
    """List the threads with a matching checkpoint, in the order of their latest match.

    The value matches a string that equals it and JSON that is written like it. An entry's activity is the
    row of the match, and so is the key of paging.
    """
    if not schema.rowid:
        return Listing([], bound="This store's table has no rowids, so its metadata cannot be searched.")
    top = row_before(before)
    deadline = time.monotonic() + SEARCH_SECONDS
    key, value = search.metadata or ("", "")
    wanted = (key, value, METADATA_BYTES, bytes_of(value))
    needle = search.thread_id or ""
    entries: list[Entry] = []
    seen: set[str] = set()
    looked_at = 0
    while True:
        rows = yield Statement(_WALK, (*wanted, needle, top, CHUNK))
        fresh = _first_matches(rows, seen)
        entries += fresh if before is None else (yield from _not_listed_before(fresh, wanted))
        looked_at += len(rows)
        if len(entries) > limit:
            return Listing(entries[:limit], entries[limit - 1].activity)
        if len(rows) < CHUNK:
            return Listing(entries)
        top = rows[-1][0] - 1
        if time.monotonic() > deadline:
            newest = "the newest" if before is None else "another"
            return Listing(
                entries, top + 1, f"Searched {newest} {looked_at:,} checkpoints; there are older ones."
            )


def bytes_of(value: str) -> bytes:
    """Return bytes that each match has, however it is written; none for what JSON may write otherwise."""
    return value.encode() if _PLAIN.fullmatch(value) else b""


def _first_matches(rows: list[Row], seen: set[str]) -> list[Entry]:
    """Return the first match of each thread that was not seen yet, and remember it."""
    fresh = []
    for rowid, thread_id, matches in rows:
        if matches and thread_id not in seen:
            seen.add(thread_id)
            fresh.append(Entry(rowid, thread_id))
    return fresh


def _not_listed_before(entries: list[Entry], wanted: Sequence[Any]) -> Operation[list[Entry]]:
    """Leave out the threads that have a later match than the one that the walk met."""
    rowids = json.dumps([entry.activity for entry in entries])
    latest = {rowid for (rowid,) in (yield Statement(_LATEST_MATCHES, (*wanted, rowids)))}
    return [entry for entry in entries if entry.activity in latest]
