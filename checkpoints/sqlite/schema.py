"""The tables of a LangGraph SQLite file, as the official savers create and migrate them."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from checkpoints.sqlite.driver import execute, transaction
from checkpoints.statements import Statement

TRIES = 10  # others may want the same at the same time
CREATE_CHECKPOINTS = """\
CREATE TABLE IF NOT EXISTS checkpoints (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL DEFAULT '',
    checkpoint_id TEXT NOT NULL,
    parent_checkpoint_id TEXT,
    type TEXT,
    checkpoint BLOB,
    metadata BLOB,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
)"""
CREATE_WRITES = """\
CREATE TABLE IF NOT EXISTS writes (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL DEFAULT '',
    checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    task_path TEXT NOT NULL DEFAULT '',
    idx INTEGER NOT NULL,
    channel TEXT NOT NULL,
    type TEXT,
    value BLOB,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
)"""
ADD_TASK_PATH = "ALTER TABLE writes ADD COLUMN task_path TEXT NOT NULL DEFAULT ''"
CURRENT = """\
SELECT max(t.name = 'checkpoints'), max(t.name = 'writes' AND c.name = 'task_path')
FROM sqlite_master AS t, pragma_table_info(t.name) AS c"""


def prepare(conn: sqlite3.Connection) -> None:
    """Make the file one that can be written: WAL, both tables, `writes.task_path`.

    A transaction that the connection's owner has open is committed, as by the official saver: SQLite
    cannot switch to WAL inside one. A file that needs nothing is not written.
    """
    conn.commit()
    if not conn.in_transaction:  # `autocommit=False` opens the next one at once
        _use_wal(conn)
    if not _is_current(conn):
        with transaction(conn):
            conn.execute(CREATE_CHECKPOINTS)
            conn.execute(CREATE_WRITES)
            if not _is_current(conn):
                conn.execute(ADD_TASK_PATH)


def _use_wal(conn: sqlite3.Connection) -> None:
    # Alone among statements, this one does not wait for a lock. A transaction does, for the owner's timeout.
    for _ in range(TRIES):
        with suppress(sqlite3.OperationalError):
            conn.execute("PRAGMA journal_mode=WAL").fetchall()
            return
        conn.execute("BEGIN EXCLUSIVE")
        conn.execute("ROLLBACK")
    conn.execute("PRAGMA journal_mode=WAL").fetchall()


def _is_current(conn: sqlite3.Connection) -> bool:
    return execute(conn, Statement(CURRENT)) == [(1, 1)]
