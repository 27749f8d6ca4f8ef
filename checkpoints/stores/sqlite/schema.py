"""Which of LangGraph's tables a database has, and how its rows are written in SQL."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from checkpoints.errors import NoCheckpointTables, OldSchema

CHECKPOINTS = frozenset(
    {
        "thread_id",
        "checkpoint_ns",
        "checkpoint_id",
        "parent_checkpoint_id",
        "type",
        "checkpoint",
        "metadata",
    }
)
WRITES = frozenset(
    {"thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel", "type", "value"}
)

DEFAULT_CHARACTERS = 100

_TABLES = """
SELECT lower(name), type, ifnull(rootpage, 0) FROM sqlite_master
WHERE name IN ('checkpoints', 'writes') COLLATE NOCASE
"""
_BUNDLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'postgres_checkpoints'"
_IMPORT = "Import it into a new file to look at it: checkpoint-explorer import BUNDLE NEW-FILE"
_NO_WRITES = """(SELECT '' AS thread_id, '' AS checkpoint_ns, '' AS checkpoint_id, '' AS task_id, 0 AS idx,
                        '' AS channel, '' AS type, NULL AS value WHERE 0)"""


@dataclass(frozen=True, slots=True)
class Schema:
    """What differs between the eras of the tables."""

    writes: bool
    task_path: bool
    rowid: bool

    @classmethod
    def of(cls, conn: sqlite3.Connection, name: str) -> Schema:
        """Look at the tables. Raises OldSchema and NoCheckpointTables, for views of that name, too."""
        tables = {table: facts for table, *facts in conn.execute(_TABLES)}
        if not tables:
            if conn.execute(_BUNDLE).fetchone():
                raise NoCheckpointTables(f"{name} is a bundle of a PostgreSQL store.", advice=_IMPORT)
            raise NoCheckpointTables(f"{name} has no LangGraph tables.")
        for table, (kind, root) in tables.items():
            # Views and virtual tables (no root page) run code of the file's author.
            if kind != "table" or not root:
                raise NoCheckpointTables(f"{name} has a {table} that is not an ordinary table.")
        columns = {table: _columns(conn, table, name) for table in tables}
        _require(columns, name)
        return cls(
            writes="writes" in tables,
            task_path="task_path" in columns.get("writes", ()),
            rowid=all("rowid" not in columns[table] and _has_rowid(conn, table) for table in tables),
        )

    def sql(self, template: str, **parts: object) -> str:
        """Fill in what depends on the era, {writes} and {task_path}, and other parts of a statement."""
        return template.format(
            writes="writes" if self.writes else _NO_WRITES,
            task_path="task_path" if self.task_path else "''",
            **parts,
        )


def _columns(conn: sqlite3.Connection, table: str, name: str) -> frozenset[str]:
    """Return the names of a table's columns. Raises NoCheckpointTables for one that makes up its content.

    A generated column, or a default of a megabyte, gives every row more bytes than the file has.
    """
    columns = set()
    for _, column, _, _, default, _, hidden in conn.execute(f"PRAGMA table_xinfo({table})"):
        if hidden or len(default or "") > DEFAULT_CHARACTERS:
            raise NoCheckpointTables(f"{name} has a {table} table whose columns make up their content.")
        columns.add(column.lower())
    return frozenset(columns)


def _require(columns: dict[str, frozenset[str]], name: str) -> None:
    checkpoints = columns.get("checkpoints", frozenset())
    if "thread_ts" in checkpoints and "checkpoint_id" not in checkpoints:
        raise OldSchema(f"{name} was written by LangGraph before 0.2.")
    if missing := CHECKPOINTS - checkpoints:
        raise NoCheckpointTables(f"{name} has no checkpoints table with {', '.join(sorted(missing))}.")
    if "writes" in columns and (missing := WRITES - columns["writes"]):
        raise NoCheckpointTables(f"{name} has a writes table without {', '.join(sorted(missing))}.")


def _has_rowid(conn: sqlite3.Connection, table: str) -> bool:
    try:
        conn.execute(f"SELECT rowid FROM {table} LIMIT 0")  # noqa: S608
    except sqlite3.OperationalError:
        return False
    return True
