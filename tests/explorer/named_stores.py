"""Empty stores of a given name, which the pages show."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest


def places(name: str, request: pytest.FixtureRequest) -> Iterator[Path | str]:
    """Give an empty store of this name, in the database that the fixture is parametrized with."""
    if request.param == "sqlite":
        yield request.getfixturevalue("tmp_path_factory").mktemp("stores") / f"{name}.sqlite"
        return
    server, database = request.getfixturevalue("postgres"), sql.Identifier(name)
    with psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(database))
        yield server.url_of(quote(name))
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
