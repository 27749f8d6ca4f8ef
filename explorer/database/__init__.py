"""The app's own database: what DATABASE_URL names, or else a SQLite file of this user.

It is not a store. Nothing that a store holds is kept here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured
from platformdirs import user_data_path

APP = "checkpoint-explorer"
FORMS = "Use postgresql://user@host/database or sqlite:////absolute/path/of/the/file."
NEEDS_PSYCOPG = (
    "DATABASE_URL names a PostgreSQL database: pip install 'langgraph-checkpoint-explorer[postgres]'"
)

CONNECT_SECONDS = 10
LOCK_SECONDS = 30


def configured(url: str | None) -> dict[str, Any]:
    """Return Django's settings of the database at a URL. Raises ImproperlyConfigured, without the URL."""
    if not url:
        return _sqlite(user_data_path(APP) / "explorer.sqlite3")
    scheme, _, rest = url.partition("://")
    match scheme:
        case "postgresql" | "postgres":
            return _postgresql(url)
        case "sqlite" if rest.startswith("/") and len(rest) > 1:
            return _sqlite(_path(unquote(rest[1:])))
        case "sqlite":
            raise ImproperlyConfigured(f"DATABASE_URL names no file. {FORMS}")
        case _:
            raise ImproperlyConfigured(f"DATABASE_URL is of a kind that is not supported. {FORMS}")


def _path(text: str) -> Path:
    if "\0" in text:
        raise ImproperlyConfigured(f"DATABASE_URL names no file. {FORMS}")
    return Path(text)


def _sqlite(path: Path) -> dict[str, Any]:
    # A transaction that begins by reading and then writes fails at once when another writer came between.
    # With a write-ahead log whoever watches a replay is not in the way of its worker.
    options = {
        "transaction_mode": "IMMEDIATE",
        "timeout": LOCK_SECONDS / 2,  # less than the lease of a replay
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;",
    }
    return {"ENGINE": "explorer.database", "NAME": path.absolute(), "OPTIONS": options}


def _postgresql(url: str) -> dict[str, Any]:
    """Take libpq's own parameters, so that whatever opens a store opens this database, too."""
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise ImproperlyConfigured(NEEDS_PSYCOPG) from None
    try:
        options: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": CONNECT_SECONDS * 1000,  # ms; a network that is cut ends a wait
            "application_name": APP,
            **conninfo_to_dict(url),
        }
    except (ProgrammingError, ValueError):  # its text quotes the URL; ValueError: that is no UTF-8
        raise ImproperlyConfigured(f"DATABASE_URL is not a valid URL of PostgreSQL. {FORMS}") from None
    name = options.pop("dbname", "")
    if not name and "service" not in options:
        raise ImproperlyConfigured(f"DATABASE_URL names no database. {FORMS}")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "OPTIONS": options,
        "DISABLE_SERVER_SIDE_CURSORS": True,  # a pooler in transaction mode loses them
    }
