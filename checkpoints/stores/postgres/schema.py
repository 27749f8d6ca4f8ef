"""Which of LangGraph's tables a database has, and how its rows are written in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoints.errors import AccessRefused, NoCheckpointTables
from checkpoints.statements import Operation, Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLUMNS: Mapping[str, frozenset[str]] = {
    "checkpoints": frozenset(
        {"thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "checkpoint", "metadata"}
    ),
    "checkpoint_blobs": frozenset({"thread_id", "checkpoint_ns", "channel", "version", "type", "blob"}),
    "checkpoint_writes": frozenset(
        {"thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel", "type", "blob"}
    ),
}
ORDINARY = {"r", "p"}  # a table, or one in partitions

# Found as an unqualified name is, along the connection's search_path.
_TABLES = """
SELECT wanted, c.relkind::text, has_table_privilege(c.oid, 'SELECT'),
       ARRAY(SELECT attname::text FROM pg_attribute
             WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
       c.reltuples::float8, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       EXISTS (SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
               WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
                 AND a.attname = 'checkpoint_id')
FROM unnest(%s::text[]) wanted
LEFT JOIN pg_class c ON c.oid = to_regclass(wanted)
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
"""


@dataclass(frozen=True, slots=True)
class Schema:
    """What differs between databases. `estimate` is how many checkpoints the server believes there are."""

    task_path: bool
    latest_index: bool
    estimate: int
    qualified: str

    @classmethod
    def look(cls, name: str) -> Operation[Schema]:
        """Look at the tables. Raises NoCheckpointTables, for views of that name too, and AccessRefused."""
        rows = yield Statement(_TABLES, (list(COLUMNS),))
        found = {table: facts for table, *facts in rows}
        if all(kind is None for kind, *_ in found.values()):
            raise NoCheckpointTables(f"{name} has no LangGraph tables.", advice=_SEARCH_PATH)
        for table, facts in found.items():
            _require(table, facts, name)
        _, _, _, estimate, qualified, latest_index = found["checkpoints"]
        return cls(
            task_path="task_path" in found["checkpoint_writes"][2],
            latest_index=latest_index,
            estimate=max(0, int(estimate)),
            qualified=qualified,
        )

    def sql(self, template: str) -> str:
        """Fill in {task_path}, which tables before the ninth migration lack."""
        return template.replace("{task_path}", "task_path" if self.task_path else "''")


_SEARCH_PATH = (
    "Name the database that the agent's saver writes; tables in another schema are found with "
    "?options=-csearch_path%3Dschema at the end of the URL."
)


def _require(table: str, facts: Sequence[Any], name: str) -> None:
    kind, readable, columns, *_ = facts
    if kind is None:
        raise NoCheckpointTables(f"{name} has no table {table}.")
    if kind not in ORDINARY:
        # A view, or a table of another server, runs what its author likes.
        raise NoCheckpointTables(f"{name} has a {table} that is not an ordinary table.")
    if missing := COLUMNS[table] - set(columns):
        raise NoCheckpointTables(f"{name} has a {table} table without {', '.join(sorted(missing))}.")
    if not readable:
        raise AccessRefused(
            f"The role may not read {table} in {name}.", advice=f"GRANT SELECT ON {table} lets it."
        )
