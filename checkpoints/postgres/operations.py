"""What a saver does to the tables, written once for every driver, with its SQL.

All that a checkpoint is made of comes with one statement: three that follow one another were slower. Rows are
looked up by their primary keys one by one (LATERAL with a LIMIT or an OFFSET): a join would be planned from
estimates, and reads all of a long thread where those are wrong. Where there is one thread, each part names
it, so that a database that is distributed by thread asks one node.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import WRITES_IDX_MAP, get_checkpoint_id
from langgraph.checkpoint.serde.types import TASKS
from psycopg.errors import UniqueViolation

from checkpoints.errors import ThreadExists, ThreadNotFound
from checkpoints.postgres.codec import EMPTY, Stored
from checkpoints.saver.addresses import place
from checkpoints.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from langchain_core.runnables import RunnableConfig

    from checkpoints.postgres.codec import Encoded
    from checkpoints.statements import Operation, Row

COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata"
NAMESPACE = "FROM checkpoints WHERE thread_id = %(thread_id)s AND checkpoint_ns = %(checkpoint_ns)s"
HEAD = f"SELECT 0 AS place, {COLUMNS} {NAMESPACE} ORDER BY checkpoint_id DESC LIMIT 1"
BY_ID = f"SELECT 0 AS place, {COLUMNS} {NAMESPACE} AND checkpoint_id = %(checkpoint_id)s"
BY_KEY = f"""\
SELECT keys.place::int AS place, {COLUMNS}
FROM unnest(%(threads)s::text[], %(namespaces)s::text[], %(ids)s::text[])
    WITH ORDINALITY AS keys (t, n, i, place)
CROSS JOIN LATERAL (
    SELECT {COLUMNS} FROM checkpoints WHERE thread_id = t AND checkpoint_ns = n AND checkpoint_id = i LIMIT 1
) AS found"""

# What is no object has no members, and is an error to ask for them.
VERSIONS = """\
CASE jsonb_typeof(checkpoint -> 'channel_versions') WHEN 'object' THEN checkpoint -> 'channel_versions' END"""
# Before its migration 9 `checkpoint_writes` has no task_path. A name is looked for in the table first, then
# outside of it, so this one is found only where the column is missing.
NO_PATH = "(SELECT '' AS task_path) AS absent"
BLOB = f"""\
(SELECT type, blob FROM checkpoint_blobs
 WHERE thread_id = {{thread}} AND checkpoint_ns = {{at}}.checkpoint_ns
 AND channel = {{at}}.channel AND version = {{at}}.version AND type <> '{EMPTY}' LIMIT 1) AS found"""
VERSIONED = f"""\
SELECT 1, NULL::int[], 0, channel, type, NULL, NULL, NULL, NULL, 0, blob
FROM (SELECT page.thread_id, checkpoint_ns, key AS channel, value AS version
      FROM page CROSS JOIN LATERAL jsonb_each_text({VERSIONS})) AS held
CROSS JOIN LATERAL {BLOB.format(thread="{thread}", at="held")}"""
# Each blob once, with the places of the checkpoints that hold it.
SHARED = f"""\
SELECT 1, places, 0, channel, type, NULL, NULL, NULL, NULL, 0, blob
FROM (SELECT page.thread_id, checkpoint_ns, key AS channel, value AS version, array_agg(place) AS places
      FROM page CROSS JOIN LATERAL jsonb_each_text({VERSIONS})
      GROUP BY page.thread_id, checkpoint_ns, key, value) AS held
CROSS JOIN LATERAL {BLOB.format(thread="{thread}", at="held")}"""
FETCH = """\
WITH page AS MATERIALIZED ({page})
SELECT 0 AS kind, NULL::int[] AS places, place, thread_id, checkpoint_ns, checkpoint_id,
    parent_checkpoint_id, checkpoint::text, metadata::text,
    CASE WHEN checkpoint -> 'v' < '4' THEN 1 ELSE 0 END AS idx, NULL::bytea AS blob
FROM page
UNION ALL
{blobs}
UNION ALL
SELECT 2, NULL, place, path, task_id, channel, type, NULL, NULL, idx, blob
FROM page CROSS JOIN {no_path} CROSS JOIN LATERAL (
    SELECT task_path AS path, task_id, channel, type, idx, blob FROM checkpoint_writes
    WHERE thread_id = {thread} AND checkpoint_ns = page.checkpoint_ns
    AND checkpoint_id = page.checkpoint_id OFFSET 0) AS found"""
# Before version 4, the tasks that a node sent were writes of the parent.
SENDS = f"""\
SELECT place, path, task_id, idx, type, blob
FROM unnest(%(threads)s::text[], %(namespaces)s::text[], %(ids)s::text[])
    WITH ORDINALITY AS keys (t, n, i, place) CROSS JOIN {NO_PATH}
CROSS JOIN LATERAL (
    SELECT task_path AS path, task_id, idx, type, blob FROM checkpoint_writes
    WHERE thread_id = t AND checkpoint_ns = n AND checkpoint_id = i AND channel = '{TASKS}'
    OFFSET 0) AS found"""


def fetching(page: str, *, blobs: str = SHARED, thread: str = "%(thread_id)s") -> str:
    """Return the statement that fetches the checkpoints that `page` selects, with all that is theirs."""
    blobs = blobs.format(thread="held.thread_id" if thread == "page.thread_id" else thread)
    return FETCH.format(page=page, blobs=blobs, thread=thread, no_path=NO_PATH)


GET_HEAD = fetching(HEAD, blobs=VERSIONED)
GET_BY_ID = fetching(BY_ID, blobs=VERSIONED)
GET_BY_KEY = fetching(BY_KEY, thread="page.thread_id")

PUT_CHECKPOINT = """\
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id)
DO UPDATE SET checkpoint = EXCLUDED.checkpoint, metadata = EXCLUDED.metadata"""
PUT_WITH_BLOBS = f"""\
WITH stored AS (
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    {{}} ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO NOTHING)
{PUT_CHECKPOINT}"""
BLOB_TYPES = ("text", "text", "text", "text", "text", "bytea")
ADD_WRITES = """\
INSERT INTO checkpoint_writes
(thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
{} ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO NOTHING"""
REPLACE_WRITES = ADD_WRITES.replace(
    "DO NOTHING", "DO UPDATE SET channel = EXCLUDED.channel, type = EXCLUDED.type, blob = EXCLUDED.blob"
)
WRITE_TYPES = ("text", "text", "text", "text", "text", "int", "text", "text", "bytea")
FEW_ROWS = 100  # more are sent as arrays: a statement has at most 65,535 parameters

TABLES = ("checkpoint_writes", "checkpoints", "checkpoint_blobs")  # in the order in which they are locked
# One statement: all three see the same moment of a thread that is being written. What stands in WITH runs
# last to first: checkpoints are locked before blobs, as in a put, or both might wait for each other.
DELETE_THREAD = """\
WITH blobs AS (DELETE FROM checkpoint_blobs WHERE thread_id = %(thread_id)s),
gone AS (DELETE FROM checkpoints WHERE thread_id = %(thread_id)s)
DELETE FROM checkpoint_writes WHERE thread_id = %(thread_id)s"""
# One at a time into a thread: who waits here sees what the one before has copied.
RESERVE = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 20260411))"
ANY_OF_THREAD = " UNION ALL ".join(
    f"(SELECT 1 FROM {table} WHERE thread_id = %(thread_id)s LIMIT 1)" for table in TABLES
)
COPY_THREAD = """\
WITH blobs AS (
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT %(target)s, checkpoint_ns, channel, version, type, blob
    FROM checkpoint_blobs WHERE thread_id = %(source)s),
writes AS (
    INSERT INTO checkpoint_writes
    (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
    SELECT %(target)s, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
    FROM checkpoint_writes WHERE thread_id = %(source)s)
INSERT INTO checkpoints
(thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
SELECT %(target)s, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
FROM checkpoints WHERE thread_id = %(source)s"""


def get(config: RunnableConfig) -> Operation[Stored | None]:
    """Return the checkpoint that the config names; without an id, the head of the namespace."""
    thread_id, checkpoint_ns = place(config)
    parameters = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
    if checkpoint_id := get_checkpoint_id(config):
        found = yield from fetch(GET_BY_ID, {**parameters, "checkpoint_id": checkpoint_id})
    else:
        found = yield from fetch(GET_HEAD, parameters)
    return found[0] if found else None


def find_all(keys: Sequence[Row]) -> Operation[list[Stored]]:
    """Return the checkpoints with these keys (thread, namespace, id) that exist, in the order of the keys."""
    threads, namespaces, ids = map(list, zip(*keys, strict=True))
    return fetch(GET_BY_KEY, {"threads": threads, "namespaces": namespaces, "ids": ids})


def fetch(sql: str, parameters: Mapping[str, Any]) -> Operation[list[Stored]]:
    """Return the checkpoints that a statement made by `fetching` finds, in the order of their places."""
    rows = yield Statement(sql, parameters)
    found = _assemble(rows)
    old = [found[row[2]] for row in rows if row[0] == 0 and row[9] and row[6]]
    if old:
        yield from _add_sends(old)
    return [found[at] for at in sorted(found)]


def _assemble(rows: Iterable[Row]) -> dict[int, Stored]:
    """Return the checkpoints by their places."""
    checkpoints: dict[int, Stored] = {}
    blobs: list[Row] = []
    writes: list[Row] = []
    for row in rows:
        if row[0] == 0:
            checkpoints[row[2]] = Stored._make((*row[3:9], [], [], []))
        else:
            (blobs if row[0] == 1 else writes).append(row)
    blobs.sort(key=lambda row: (len(row[3]), row[3]))  # as JSONB sorts channels
    for _, places, only, channel, kind, *_, blob in blobs:
        for at in places or (only,):
            checkpoints[at].blobs.append((channel, kind, blob))
    writes.sort(key=itemgetter(3, 4, 9))  # by path, task and index, whatever the database's collation
    for _, _, at, _path, task_id, channel, kind, *_, blob in writes:
        checkpoints[at].writes.append((task_id, channel, kind, blob))
    return checkpoints


def _add_sends(old: Sequence[Stored]) -> Operation[None]:
    """Give checkpoints of before version 4 the tasks that were sent for them."""
    threads, namespaces, parents = map(list, zip(*((at[0], at[1], at[3]) for at in old), strict=True))
    rows = yield Statement(SENDS, {"threads": threads, "namespaces": namespaces, "ids": parents})
    for number, *_, kind, blob in sorted(rows, key=itemgetter(0, 1, 2, 3)):
        old[number - 1].sends.append((kind, blob))


def put_checkpoint(encoded: Encoded) -> Operation[None]:
    """Store the checkpoint, in place of one with its id, and the blobs that are not there yet.

    It is one statement, so that whatever interrupts it, there is all of it or nothing.
    """
    blobs = [(*encoded.row[:2], *blob) for blob in encoded.blobs]
    sql = PUT_WITH_BLOBS.format(_source(BLOB_TYPES, len(blobs))) if blobs else PUT_CHECKPOINT
    yield Statement(sql, (*_parameters(blobs), *encoded.row))


def put_writes(rows: Sequence[Row]) -> Operation[None]:
    """Store the writes of a task. Special ones replace what is there; others are kept as first written."""
    special = all(row[6] in WRITES_IDX_MAP for row in rows)
    if special:  # a statement replaces a row once: the last of each index counts
        rows = list({row[5]: row for row in rows}.values())
    if rows:
        sql = (REPLACE_WRITES if special else ADD_WRITES).format(_source(WRITE_TYPES, len(rows)))
        yield Statement(sql, _parameters(rows))


def _source(types: Sequence[str], rows: int) -> str:
    """Return the SQL of so many rows of parameters."""
    if rows > FEW_ROWS:
        return f"SELECT * FROM unnest({', '.join(f'%s::{name}[]' for name in types)})"
    row = f"({', '.join(['%s'] * len(types))})"
    return f"VALUES {', '.join([row] * rows)}"


def _parameters(rows: Sequence[Row]) -> Sequence[Any]:
    if len(rows) > FEW_ROWS:
        return [list(column) for column in zip(*rows, strict=True)]
    return [value for row in rows for value in row]


def delete_thread(thread_id: str) -> Operation[None]:
    """Delete all rows of a thread."""
    yield Statement(DELETE_THREAD, {"thread_id": thread_id})


def copy_thread(source: str, target: str) -> Operation[None]:
    """Copy all rows, byte for byte: ids stay, so that tasks keep theirs and no finished one runs again.

    Raises ThreadNotFound, or ThreadExists when the target has any row.
    """
    yield Statement(RESERVE, (target,))
    if not (yield Statement(ANY_OF_THREAD, {"thread_id": source})):
        raise ThreadNotFound(f"There is no thread {source!r} to copy.")
    taken = ThreadExists(f"There is a thread {target!r} already.")
    if (yield Statement(ANY_OF_THREAD, {"thread_id": target})):
        raise taken
    try:
        yield Statement(COPY_THREAD, {"source": source, "target": target})
    except UniqueViolation as error:  # an agent has just begun it
        raise taken from error
