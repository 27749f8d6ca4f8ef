"""What a saver does to the two tables, written once for both drivers, with all of its SQL."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import WRITES_IDX_MAP, get_checkpoint_id

from checkpoints.errors import ThreadExists, ThreadNotFound
from checkpoints.sqlite.codec import Stored
from checkpoints.statements import Operation, Row, Statement

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from langchain_core.runnables import RunnableConfig

COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
NAMESPACE = "FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
HEAD = f"SELECT {COLUMNS} {NAMESPACE} ORDER BY checkpoint_id DESC LIMIT 1"
BY_ID = f"SELECT {COLUMNS} {NAMESPACE} AND checkpoint_id = ?"
WRITES = """\
SELECT task_id, channel, type, value FROM writes
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? ORDER BY task_path, task_id, idx"""

# CROSS JOIN makes SQLite seek each key; a row value IN (VALUES …) scans the table instead.
KEYS = "WITH keys (place, thread_id, checkpoint_ns, checkpoint_id) AS (VALUES {})"
JOIN = "FROM keys CROSS JOIN {} USING (thread_id, checkpoint_ns, checkpoint_id)"
ALL_BY_ID = f"{KEYS} SELECT place, {COLUMNS} {JOIN.format('checkpoints')}"
ALL_WRITES = f"""\
{KEYS} SELECT place, task_id, channel, type, value {JOIN.format("writes")} ORDER BY task_path, task_id, idx"""

PUT_CHECKPOINT = """\
INSERT OR REPLACE INTO checkpoints
(thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
ADD_WRITE = """\
INSERT OR IGNORE INTO writes
(thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
REPLACE_WRITE = ADD_WRITE.replace("OR IGNORE", "OR REPLACE")
COPY_CHECKPOINTS = """\
INSERT INTO checkpoints
(thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
SELECT ?, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
FROM checkpoints WHERE thread_id = ?"""
COPY_WRITES = """\
INSERT INTO writes
(thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)
SELECT ?, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value
FROM writes WHERE thread_id = ?"""
ANY_OF_THREAD = """\
SELECT 1 FROM checkpoints WHERE thread_id = ? UNION ALL SELECT 1 FROM writes WHERE thread_id = ? LIMIT 1"""
LINKS = f"SELECT checkpoint_id, parent_checkpoint_id {NAMESPACE}"
DELETE_CHECKPOINT = "DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
DELETE_WRITES_OF = "DELETE FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
ORPHAN = """\
UPDATE checkpoints SET parent_checkpoint_id = NULL
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"""
DELETE_CHECKPOINTS = "DELETE FROM checkpoints WHERE thread_id = ?"
DELETE_WRITES = "DELETE FROM writes WHERE thread_id = ?"


def get(config: RunnableConfig) -> Operation[Stored | None]:
    """Return the checkpoint that the config names; without an id, the head of the namespace."""
    configurable = config["configurable"]
    thread_id, checkpoint_ns = str(configurable["thread_id"]), configurable.get("checkpoint_ns", "")
    if checkpoint_id := get_checkpoint_id(config):
        return _find(BY_ID, thread_id, checkpoint_ns, checkpoint_id)
    return _find(HEAD, thread_id, checkpoint_ns)


def _find(sql: str, *parameters: str) -> Operation[Stored | None]:
    rows = yield from select(sql, parameters)
    return Stored._make((*rows[0], (yield from select_writes(WRITES, rows[0][:3])))) if rows else None


def find_all(keys: Sequence[Row]) -> Operation[list[Stored]]:
    """Return the checkpoints with these keys (thread, namespace, id) that exist, in the order of the keys."""
    places = ", ".join(f"({place}, ?, ?, ?)" for place in range(len(keys)))
    parameters = [part for key in keys for part in key]
    writes: list[list[Row]] = [[] for _ in keys]
    for write in (yield from select_writes(ALL_WRITES.format(places), parameters)):
        writes[write[0]].append(write[1:])
    rows = yield from select(ALL_BY_ID.format(places), parameters)
    return [Stored._make((*row[1:], writes[row[0]])) for row in sorted(rows)]


def select(sql: str, parameters: Sequence[Any]) -> Operation[list[Row]]:
    """Return the rows; none where the tables do not exist, since reading never creates them."""
    try:
        return (yield Statement(sql, parameters))
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return []


def select_writes(sql: str, parameters: Sequence[Any]) -> Operation[list[Row]]:
    """Return the rows of a query that orders by `task_path`, also where the column does not exist."""
    # Files of checkpoint-sqlite before 3.1.1 and of LangGraph.js have no task_path. Asking anew costs nothing
    # where the column exists, and another process may add it at any time.
    try:
        return (yield from select(sql, parameters))
    except sqlite3.OperationalError as error:
        if "no such column: task_path" not in str(error):
            raise
        return (yield from select(sql.replace("task_path, ", ""), parameters))


def put_checkpoint(row: Row) -> Operation[None]:
    """Store the checkpoint, in place of one with its id."""
    yield Statement(PUT_CHECKPOINT, row)


def put_writes(rows: Sequence[Row]) -> Operation[None]:
    """Store the writes of a task. Special ones replace what is there; others are kept as first written."""
    special = all(row[6] in WRITES_IDX_MAP for row in rows)
    yield Statement(REPLACE_WRITE if special else ADD_WRITE, many=rows)


def delete_thread(thread_id: str) -> Operation[None]:
    """Delete the checkpoints and writes of all namespaces."""
    yield Statement(DELETE_CHECKPOINTS, (thread_id,))
    yield Statement(DELETE_WRITES, (thread_id,))


def links(thread_id: str, checkpoint_ns: str) -> Operation[dict[str, str | None]]:
    """Return the parent of each checkpoint of a namespace, by id."""
    return dict((yield from select(LINKS, (thread_id, checkpoint_ns))))


def delete_checkpoints(thread_id: str, checkpoint_ns: str, ids: Collection[str]) -> Operation[None]:
    """Delete some checkpoints of a namespace with their writes. One whose parent goes is left with none."""
    parents = yield from links(thread_id, checkpoint_ns)
    deleted = [(thread_id, checkpoint_ns, id) for id in ids]
    yield Statement(DELETE_WRITES_OF, many=deleted)
    yield Statement(DELETE_CHECKPOINT, many=deleted)
    orphans = [
        (thread_id, checkpoint_ns, child)
        for child, parent in parents.items()
        if parent in ids and child not in ids
    ]
    yield Statement(ORPHAN, many=orphans)


def copy_thread(source: str, target: str) -> Operation[None]:
    """Copy all rows, byte for byte: ids stay, so that tasks keep theirs and no finished one runs again.

    Raises ThreadNotFound, or ThreadExists when the target has any row.
    """
    if not (yield from select(ANY_OF_THREAD, (source, source))):
        raise ThreadNotFound(f"There is no thread {source!r} to copy.")
    if (yield from select(ANY_OF_THREAD, (target, target))):
        raise ThreadExists(f"There is a thread {target!r} already.")
    yield Statement(COPY_CHECKPOINTS, (target, source))
    yield Statement(COPY_WRITES, (target, source))
