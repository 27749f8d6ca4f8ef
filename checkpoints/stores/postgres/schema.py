"""Which of LangGraph's tables a database has, and how its rows are written in SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from checkpoints.errors import AccessRefused, NoCheckpointTables
from checkpoints.statements import Operation, Statement, T

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEXT = frozenset({"text", "character varying"})
NUMBER = frozenset({"integer", "bigint", "smallint"})
JSON, BYTES = frozenset({"jsonb"}), frozenset({"bytea"})
_THREAD = {"thread_id": TEXT, "checkpoint_ns": TEXT}
# A cast of somebody's own type is somebody's own function.
COLUMNS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "checkpoints": {
        **_THREAD,
        "checkpoint_id": TEXT,
        "parent_checkpoint_id": TEXT,
        "checkpoint": JSON,
        "metadata": JSON,
    },
    "checkpoint_blobs": {**_THREAD, "channel": TEXT, "version": TEXT, "type": TEXT, "blob": BYTES},
    "checkpoint_writes": {
        **_THREAD,
        "checkpoint_id": TEXT,
        "task_id": TEXT,
        "idx": NUMBER,
        "channel": TEXT,
        "type": TEXT,
        "blob": BYTES,
    },
}
OPTIONAL = {"task_path": TEXT}
MIGRATIONS = "checkpoint_migrations"
ORDINARY = {"r", "p"}  # a table, or one in partitions

# Functions and operators are looked up along the search_path too, and one in an agent's schema that fits
# better than PostgreSQL's own would be called with the reader's rights: so there is nothing else on the path,
# and tables are named with their schemas.
SEALED = "pg_catalog, pg_temp"
_PATH = f"""
SELECT pg_catalog.current_schemas(true)::pg_catalog.text[],
       pg_catalog.set_config('search_path', '{SEALED}', true)
"""
# Found as an unqualified name would have been.
_TABLES = """
SELECT wanted, c.relkind::text, has_table_privilege(c.oid, 'SELECT'),
       ARRAY(SELECT ARRAY[attname::text, format_type(atttypid, NULL)] FROM pg_attribute
             WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
       c.reltuples::float8, quote_ident(c.nspname) || '.' || quote_ident(c.relname),
       EXISTS (SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
               WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
                 AND a.attname = 'checkpoint_id')
FROM unnest(%(tables)s::text[]) wanted
LEFT JOIN LATERAL (
    SELECT c.oid, c.relkind, c.relname, c.reltuples, n.nspname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = wanted AND n.nspname = ANY(%(schemas)s::text[])
    ORDER BY array_position(%(schemas)s::text[], n.nspname::text) LIMIT 1
) c ON true
"""
_TABLE = re.compile(rf"\b(FROM|JOIN|INTO|UPDATE)(\s+)({'|'.join((*COLUMNS, MIGRATIONS))})\b")


@dataclass(frozen=True, slots=True)
class Schema:
    """What differs between databases.

    `estimate` is how many checkpoints the server believes there are, `names` the tables with their schemas;
    that of the migrations is among them where it may be read.
    """

    task_path: bool
    latest_index: bool
    estimate: int
    names: Mapping[str, str]

    @classmethod
    def look(cls, name: str) -> Operation[Schema]:
        """Look at the tables, and leave nothing but PostgreSQL's own functions on the search_path.

        Raises NoCheckpointTables, for views of that name too, and AccessRefused.
        """
        [(schemas, _)] = yield Statement(_PATH)
        wanted = {"tables": [*COLUMNS, MIGRATIONS], "schemas": schemas}
        found = {table: facts for table, *facts in (yield Statement(_TABLES, wanted))}
        if all(found[table][0] is None for table in COLUMNS):
            raise NoCheckpointTables(f"{name} has no LangGraph tables.", advice=_SEARCH_PATH)
        for table in COLUMNS:
            _require(table, found[table], name)
        estimate, _, latest_index = found["checkpoints"][3:]
        return cls(
            task_path="task_path" in dict(found["checkpoint_writes"][2]),
            latest_index=latest_index,
            estimate=max(0, int(estimate)),
            names={table: facts[4] for table, facts in found.items() if facts[0] in ORDINARY and facts[1]},
        )

    @property
    def qualified(self) -> str:
        """The table of checkpoints, with its schema."""
        return self.names["checkpoints"]

    def sql(self, template: str) -> str:
        """Fill in {task_path}, which tables before the ninth migration lack."""
        return template.replace("{task_path}", "task_path" if self.task_path else "''")

    def here(self, operation: Operation[T]) -> Operation[T]:
        """Return the operation with the tables of its statements named with their schemas."""
        try:
            statement = next(operation)
            while True:
                sql = _TABLE.sub(lambda found: f"{found[1]}{found[2]}{self.names[found[3]]}", statement.sql)
                try:
                    rows = yield statement._replace(sql=sql)
                except psycopg.Error as error:
                    statement = operation.throw(error)
                else:
                    statement = operation.send(rows)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            operation.close()


_SEARCH_PATH = (
    "Name the database that the agent's saver writes; tables in another schema are found with "
    "?options=-csearch_path%3Dschema at the end of the URL."
)


def _require(table: str, facts: Sequence[Any], name: str) -> None:
    kind, readable, columns, *_ = facts
    types = dict(columns or ())
    if kind is None:
        raise NoCheckpointTables(f"{name} has no table {table}.")
    if kind not in ORDINARY:
        # A view, or a table of another server, runs what its author likes.
        raise NoCheckpointTables(f"{name} has a {table} that is not an ordinary table.")
    if missing := COLUMNS[table].keys() - types.keys():
        raise NoCheckpointTables(f"{name} has a {table} table without {', '.join(sorted(missing))}.")
    for column, known in {**COLUMNS[table], **OPTIONAL}.items():
        if column in types and types[column] not in known:
            raise NoCheckpointTables(f"{name} has a {table} whose {column} is not of LangGraph's type.")
    if not readable:
        raise AccessRefused(
            f"The role may not read {table} in {name}.", advice=f"GRANT SELECT ON {table} lets it."
        )
