"""Erasing from a PostgreSQL server, as far as a client can."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from psycopg import errors, sql

from checkpoints.deleting.erasure import Erasure
from checkpoints.postgres.driver import run
from checkpoints.stores.postgres.deleting import TABLES
from checkpoints.stores.postgres.schema import Schema
from checkpoints.stores.postgres.writing import connected

if TYPE_CHECKING:
    from checkpoints.stores.location import Location

FILE: Final = "SELECT pg_relation_filenode(%s::regclass)"
WAIT: Final = "1s"  # for the table: whoever comes after has to wait as long
BEYOND: Final = (
    "Its write-ahead log, replicas and backups keep what they have, for as long as their owner says."
)


def erase(location: Location, *, insist: bool) -> Erasure:
    """Rewrite the tables if one insists; else say what is left to do for their owner."""
    if not insist:
        return Erasure(
            "server",
            f"The rows are gone from {location.name}, but a server keeps deleted rows in its files until "
            f"they are overwritten. {BEYOND}",
            f"VACUUM FULL {', '.join(TABLES)} rewrites the tables; nobody reads or writes them then.",
        )
    began = time.monotonic()
    with connected(location) as conn:
        with conn.transaction():
            names = run(conn, Schema.look(location.name)).names
        conn.execute(sql.SQL("SET lock_timeout = {}").format(WAIT))
        for table in TABLES:
            before = conn.execute(FILE, [names[table]]).fetchone()
            try:
                conn.execute(f"VACUUM (FULL) {names[table]}")  # quoted by the server
            except errors.LockNotAvailable:
                return Erasure(
                    "locked",
                    f"Somebody is at work on {table} in {location.name}.",
                    "Try again when the agent rests.",
                )
            except errors.InsufficientPrivilege:
                return _owners(table)
            if conn.execute(FILE, [names[table]]).fetchone() == before:  # the server only warns
                return _owners(table)
    seconds = time.monotonic() - began
    reason = (
        f"The tables of {location.name} were rewritten, but for what an open transaction may still see. "
        f"{BEYOND}"
    )
    return Erasure("server", reason, seconds=seconds)


def _owners(table: str) -> Erasure:
    return Erasure(
        "server", f"Only the owner of {table} may rewrite it.", f"Ask them for VACUUM FULL {table}."
    )
