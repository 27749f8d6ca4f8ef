"""The tables of a LangGraph PostgreSQL database: the official migrations, by their official numbers.

A database says in `checkpoint_migrations` which ones it has had, so whoever runs them, nobody runs one again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import errors

from checkpoints.statements import Statement

if TYPE_CHECKING:
    from checkpoints.statements import Operation

MIGRATIONS = [
    "CREATE TABLE IF NOT EXISTS checkpoint_migrations (v INTEGER PRIMARY KEY)",
    """\
CREATE TABLE IF NOT EXISTS checkpoints (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL DEFAULT '',
    checkpoint_id TEXT NOT NULL,
    parent_checkpoint_id TEXT,
    type TEXT,
    checkpoint JSONB NOT NULL,
    metadata JSONB NOT NULL DEFAULT '{}',
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
)""",
    """\
CREATE TABLE IF NOT EXISTS checkpoint_blobs (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL DEFAULT '',
    channel TEXT NOT NULL,
    version TEXT NOT NULL,
    type TEXT NOT NULL,
    blob BYTEA,
    PRIMARY KEY (thread_id, checkpoint_ns, channel, version)
)""",
    """\
CREATE TABLE IF NOT EXISTS checkpoint_writes (
    thread_id TEXT NOT NULL,
    checkpoint_ns TEXT NOT NULL DEFAULT '',
    checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    channel TEXT NOT NULL,
    type TEXT,
    blob BYTEA NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
)""",
    "ALTER TABLE checkpoint_blobs ALTER COLUMN blob DROP NOT NULL",
    "SELECT 1",  # its number is taken
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS checkpoints_thread_id_idx ON checkpoints (thread_id)",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS checkpoint_blobs_thread_id_idx ON checkpoint_blobs (thread_id)",
    """\
CREATE INDEX CONCURRENTLY IF NOT EXISTS checkpoint_writes_thread_id_idx ON checkpoint_writes (thread_id)""",
    "ALTER TABLE checkpoint_writes ADD COLUMN IF NOT EXISTS task_path TEXT NOT NULL DEFAULT ''",
]
LAST_MIGRATION = len(MIGRATIONS) - 1
INDEXES = {  # by their migrations' numbers: the table and the index
    6: ("checkpoints", "checkpoints_thread_id_idx"),
    7: ("checkpoint_blobs", "checkpoint_blobs_thread_id_idx"),
    8: ("checkpoint_writes", "checkpoint_writes_thread_id_idx"),
}
EXISTS = "SELECT to_regclass('checkpoint_migrations') IS NOT NULL"
VERSION = "SELECT max(v) FROM checkpoint_migrations"
RECORD = "INSERT INTO checkpoint_migrations (v) VALUES (%s) ON CONFLICT DO NOTHING"

# Whether the index is whole, whether somebody makes one on its table (which table another role works on is
# not shown), and its name in full.
INDEX = """\
SELECT i.indisvalid, EXISTS (
        SELECT FROM pg_stat_progress_create_index p
        WHERE p.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND coalesce(p.relid, i.indrelid) = i.indrelid
    ), i.indexrelid::regclass::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(%s) AND c.relname = %s"""
WAIT = "SELECT pg_sleep(0.05)"

# What servers get that all migrate at once: even IF NOT EXISTS looks first and creates then. There is no lock
# against it: one of a session would stay behind a connection pooler. Every migration can be run again.
COLLISIONS = (
    errors.UniqueViolation,
    errors.DuplicateTable,
    errors.DuplicateObject,
    errors.UndefinedObject,
    errors.DeadlockDetected,
    errors.InternalError_,  # "tuple concurrently updated"
)
ATTEMPTS = 20
PAUSE = 0.05  # seconds


def version() -> Operation[int]:
    """Return the number of the last migration that the database has had, -1 for none."""
    if not (yield Statement(EXISTS, once=True))[0][0]:
        return -1
    [(last,)] = yield Statement(VERSION, once=True)
    return -1 if last is None else int(last)


def migrate() -> Operation[None]:
    """Run the migrations that the database lacks."""
    for number in range((yield from version()) + 1, len(MIGRATIONS)):
        if index := INDEXES.get(number):
            yield from _index(MIGRATIONS[number], *index)
        else:
            yield Statement(MIGRATIONS[number], once=True)
        yield Statement(RECORD, (number,), once=True)


def _index(create: str, table: str, name: str) -> Operation[None]:
    """Create the index, and return when it is whole.

    Two who create one CONCURRENTLY may lock each other out. Whoever loses, or is killed, leaves an index that
    no query uses and that IF NOT EXISTS takes for done. Somebody else's is waited for statement by statement:
    theirs waits for the end of ours.
    """
    created = False
    while True:
        found = yield Statement(INDEX, (table, name), once=True)
        if not found:
            if created:  # another table has an index of that name
                return
            yield Statement(create, once=True)
            created = True
            continue
        [(is_valid, is_being_made, full_name)] = found
        if is_valid:
            return
        mend = WAIT if is_being_made else f"DROP INDEX CONCURRENTLY IF EXISTS {full_name}"
        yield Statement(mend, once=True)
        created = False
