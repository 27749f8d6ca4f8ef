"""Erasing from a SQLite file: rebuilt without what was deleted, its log emptied, and both searched.

SQLite keeps deleted text in pages that are free, in gaps of pages that are not, and in old frames of the log.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from checkpoints.deleting.erasure import Erasure
from checkpoints.stores.sqlite import recovery
from checkpoints.stores.sqlite.descriptors import hold
from checkpoints.stores.sqlite.opening import sqlite_uri
from checkpoints.stores.sqlite.writing import connected

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from checkpoints.stores.location import Location

PATIENCE: Final = 5.0  # seconds for readers to end
LOCKOUT: Final = 1.5  # seconds that others may be kept from writing; Python's sqlite3 gives up after five
BESIDE: Final = 64 << 20  # bytes of a file that is rebuilt beside others, half a second's work
STEPS: Final = 1_000  # of SQLite between looks at the clock
POLL: Final = 0.1
LOCK_MS: Final = 500
CHUNK: Final = 16 << 20
LIVE_SECONDS: Final = 60.0
SHORTEST: Final = 16  # bytes of a marker
READ: Final = 1 << 20  # bytes of a value that are looked through for ids
UUID: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})

MARKED = """
SELECT thread_id, checkpoint_ns, checkpoint_id, substr(checkpoint, 1, ?2) FROM checkpoints
WHERE thread_id = ?1 ORDER BY checkpoint_id {order} LIMIT 1
"""
TABLES = """
SELECT name FROM sqlite_master
WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
"""
OWN: Final = frozenset({"checkpoints", "writes"})
KEYS = "CAST(thread_id || checkpoint_ns || checkpoint_id AS BLOB)"

_AGAIN = "Try it again when nobody reads it, or once the agent was restarted."


def erase(location: Location, markers: Sequence[bytes], *, insist: bool) -> Erasure:
    """Rebuild the file, empty its log and search both. Raises a StoreError where it cannot be written."""
    path, name = os.path.realpath(location.path), location.name
    alone = insist or _is_alone(path)  # asked before there is a connection of ours
    with connected(location) as conn:
        conn.execute("PRAGMA secure_delete=ON").fetchall()
        still_read = Erasure("reader", f"Somebody reads {name}, so its log cannot be emptied.", _AGAIN)
        if not _emptied(conn):
            return still_read
        failed, seconds = _rebuilt(conn, path, name, alone=alone)
        if failed:
            return replace(failed, seconds=seconds)
        if not _emptied(conn):
            return replace(still_read, seconds=seconds)
        recovery.forget(path)
        found, searched = search(path, markers)
        live, elsewhere = _explained(conn, found)
    result = Erasure(markers=len(set(markers) - live), bytes=searched, seconds=seconds, elsewhere=elsewhere)
    if elsewhere:
        return replace(
            result,
            obstacle="elsewhere",
            reason=f"LangGraph's tables hold nothing of it any more, but others of {name} do: "
            f"{', '.join(elsewhere)}.",
            advice="They are the application's own: delete it there, then try again.",
        )
    if found - live:
        reason = f"Deleted text is still found in {name}."
        return replace(result, obstacle="found", reason=reason, advice=_AGAIN)
    return result


def markers_of(conn: sqlite3.Connection, thread_id: str) -> list[bytes]:
    """Return bytes that the rows of a thread hold and others hardly do: keys, and ids inside of a state.

    They hold no text of a state, so they may be kept until the thread is erased.
    """
    [(encoding,)] = conn.execute("PRAGMA encoding")
    found: list[bytes] = []
    for order in ("DESC", "ASC"):
        for thread, ns, id, blob in conn.execute(MARKED.format(order=order), (thread_id, READ)):
            if isinstance(ns, str) and isinstance(id, str):
                found.append(f"{thread[-40:]}{ns}{id}".encode(encoding))
            found += UUID.findall(blob)[:2] if isinstance(blob, bytes) else []
    return [marker for marker in dict.fromkeys(found) if len(marker) >= SHORTEST]


def search(path: str, markers: Iterable[bytes]) -> tuple[set[bytes], int]:
    """Return the markers that a file or its logs hold, and how many bytes were searched."""
    wanted = list(dict.fromkeys(markers))
    found: set[bytes] = set()
    searched = 0
    for file in (path, f"{path}-wal", f"{path}-journal"):
        with suppress(FileNotFoundError):
            searched += _search(file, wanted, found)
    return found, searched


def _search(file: str, markers: Sequence[bytes], found: set[bytes]) -> int:
    # Never closed while a connection is open: that would drop this process's locks on the file.
    held = hold(file)
    overlap = max(map(len, markers), default=1) - 1
    offset, tail = 0, b""
    while chunk := held.read(CHUNK, offset):
        offset += len(chunk)
        text = tail + chunk
        found.update(marker for marker in markers if marker not in found and marker in text)
        tail = text[-overlap:] if overlap else b""
    return offset


def _emptied(conn: sqlite3.Connection) -> bool:
    """Move the log into the file and empty it, once nobody reads an older state. Tell whether it is."""
    deadline = time.monotonic() + PATIENCE
    conn.execute("PRAGMA busy_timeout=0").fetchall()  # while it waits for readers it would keep writers out
    while True:
        with suppress(sqlite3.OperationalError):
            [(busy, *_)] = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if not busy:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)


def _rebuilt(conn: sqlite3.Connection, path: str, name: str, *, alone: bool) -> tuple[Erasure | None, float]:
    """Rebuild the file. Return what was in the way, and for how many seconds nobody could write.

    Nothing interrupts the copying back of what was rebuilt, so a large file is not begun with beside others.
    """
    if not alone and os.stat(path).st_size > BESIDE:
        return _lock_out(name), 0.0
    conn.execute(f"PRAGMA busy_timeout={LOCK_MS}").fetchall()
    began = time.monotonic()
    try:
        with _given_up_after(conn, None if alone else LOCKOUT):
            conn.execute("VACUUM")
    except sqlite3.OperationalError as error:
        seconds = time.monotonic() - began
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return _lock_out(name), seconds
        if error.sqlite_errorcode & 0xFF in BUSY:
            return Erasure("locked", f"Somebody else keeps {name} locked.", _AGAIN), seconds
        if error.sqlite_errorcode & 0xFF in FULL:
            return Erasure(
                "room",
                f"The disk has no room to rebuild {name}.",
                "It needs about twice the size of the file for a moment: free some, then try again.",
            ), seconds
        return Erasure(
            "failed",
            f"SQLite could not rebuild {name} ({error.sqlite_errorname}).",
            "checkpoint-explorer doctor tells more; sqlite3's VACUUM INTO makes a clean copy elsewhere.",
        ), seconds
    return None, time.monotonic() - began


def _lock_out(name: str) -> Erasure:
    return Erasure(
        "agent",
        f"Others have {name} open, or may have. While it is rebuilt they cannot write, and that would take "
        f"longer than the {LOCKOUT} seconds for which they are kept waiting.",
        "Try again when the agent rests, or rebuild it although the agent has to wait.",
    )


def _is_alone(path: str) -> bool:
    """Tell whether no other connection has the file open, for what that is worth a moment later.

    Only in WAL mode does an idle connection hold a lock that tells of it.
    """
    uri = sqlite_uri(path, "mode=rw")
    with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as conn:
        try:
            if conn.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                return False
            conn.execute("PRAGMA locking_mode=EXCLUSIVE")
            conn.execute("BEGIN EXCLUSIVE")
            conn.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return True


@contextmanager
def _given_up_after(conn: sqlite3.Connection, seconds: float | None) -> Iterator[None]:
    """Interrupt what this connection does in the block once that has taken so long."""
    deadline = time.monotonic() + seconds if seconds is not None else float("inf")
    conn.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
    try:
        yield
    finally:
        conn.set_progress_handler(None, 0)


def _explained(conn: sqlite3.Connection, found: set[bytes]) -> tuple[set[bytes], tuple[str, ...]]:
    """Return the markers that rows of other threads hold, by right, and the tables of others that do."""
    live: set[bytes] = set()
    elsewhere: list[str] = []
    # What was not looked at by then stays unexplained, and so in the way.
    with _given_up_after(conn, LIVE_SECONDS), suppress(sqlite3.OperationalError):
        for (table,) in conn.execute(TABLES).fetchall() if found else ():
            holds = _held_by(conn, table, found - live)
            if table.lower() in OWN:
                live |= holds
            elif holds:
                elsewhere.append(table)
    return live, tuple(elsewhere)


def _held_by(conn: sqlite3.Connection, table: str, markers: Collection[bytes]) -> set[bytes]:
    """Return the markers that rows of a table hold, all looked for in one walk through it."""
    quoted, wanted = table.replace('"', '""'), list(markers)
    if not wanted:
        return set()
    columns = [column.replace('"', '""') for _, column, *_ in conn.execute(f'PRAGMA table_info("{quoted}")')]
    parts = [f'CAST("{column}" AS BLOB)' for column in columns]
    parts += [KEYS] if table.lower() in OWN else []
    found = [
        f"max({' OR '.join(f'instr({part}, ?{number})' for part in parts)})"
        for number in range(1, len(wanted) + 1)
    ]
    row = conn.execute(f'SELECT {", ".join(found)} FROM "{quoted}"', wanted).fetchone()  # noqa: S608
    return {marker for marker, held in zip(wanted, row, strict=True) if held}
