"""Operations: what is done to a database, written once for every driver.

An operation is a generator. It yields statements, receives their rows and returns its result, so the same one
runs on sqlite3, aiosqlite and both kinds of psycopg connection. A statement's error is raised where it was
yielded.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]


class Statement(NamedTuple):
    """One SQL statement with its parameters; `many` holds a parameter set per execution instead."""

    sql: str
    parameters: Sequence[Any] = ()
    many: Sequence[Sequence[Any]] | None = None


Operation: TypeAlias = Generator[Statement, list[Row], T]
