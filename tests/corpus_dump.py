"""A plain dump of PostgreSQL, executed without psql."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def restore(dump: Path, url: str) -> None:
    """Execute a dump in an empty database."""
    with psycopg.connect(url, autocommit=True) as conn, conn.cursor() as cursor, dump.open("rb") as lines:
        statement = b""
        for line in lines:
            if not statement and (line.startswith((b"--", b"\\")) or not line.strip()):
                continue
            statement += line
            if not line.rstrip().endswith(b";"):
                continue
            if statement.startswith(b"COPY "):
                with cursor.copy(statement) as copied:
                    for row in _rows(lines):
                        copied.write(row)
            else:
                cursor.execute(statement)
            statement = b""


def _rows(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        if line.rstrip() == b"\\.":
            return
        yield line
