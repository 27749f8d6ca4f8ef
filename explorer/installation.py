"""The app's own database, made ready; and several servers over one DATABASE_URL, as one.

These have the same secret key and the same token, so a cookie that one of them gave is good at all of them.
Without DATABASE_URL the database is a file of this user, which keeps replays and shares nothing.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.utils import get_random_secret_key
from django.db import DatabaseError, connection, transaction
from django.db.migrations.loader import MigrationLoader

from explorer.database import LOCK_SECONDS
from explorer.models import ONLY, Installation
from explorer.people.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterator

NEWER = (
    "The database of DATABASE_URL was made by a newer release of the explorer. "
    "Update this one, or name another database."
)
UNUSABLE = {
    "25006": "is read-only: a standby, or set so",
    "42501": "lets this user not read or make the explorer's tables",
    "55P03": "is being prepared by another server for longer than this one waits",
}
ADVICE = (
    "Check DATABASE_URL, and that its user may create tables there when a release starts for the first time."
)
NOT_NOTED = "Nothing was done, as it cannot be noted."
UNKEPT = (
    "Stores can be read, but not changed: what is done cannot be noted in {}, which cannot be used. "
    "DATABASE_URL may name another database."
)
# Any number will do that no other program locks in this database.
LOCK = 0x636B7074


def adopt(*, new_token: bool = False) -> bool:
    """Take the secret key and the token of this run from DATABASE_URL. Raises CommandError.

    What the environment or the command names goes first. Without DATABASE_URL nothing is taken. Return
    whether the database can be used: reading stores does not depend on it, changing them does.
    """
    if not settings.EXPLORER_SHARED:
        return _kept()
    shared = renewed() if new_token else joined()
    _take_key(shared)
    settings.EXPLORER_TOKEN = settings.EXPLORER_TOKEN or shared.token
    return True


def require() -> None:
    """Take part in what is kept for the stores, for a command that is noted there. Raises CommandError."""
    if not adopt():
        raise CommandError(NOT_NOTED)


def joined() -> Installation:
    """Return what the servers share. The first one makes it. Raises CommandError."""
    with _explained():
        return _found() or _made()


def renewed() -> Installation:
    """Give the servers another token; those that run take it when they start again. Raises CommandError."""
    shared = joined()
    shared.token = _token()
    with _explained():
        shared.save(update_fields=["token"])
    return shared


def _kept() -> bool:
    """Make this user's own database ready, or say that it cannot be."""
    try:
        own = joined()
    except CommandError:
        name = settings.DATABASES["default"]["NAME"]
        print(UNKEPT.format(name), file=sys.stderr)
        return False
    if served():  # so that users stay logged in when it starts again
        _take_key(own)
    return True


def _take_key(shared: Installation) -> None:
    if not os.environ.get("EXPLORER_SECRET_KEY"):
        settings.SECRET_KEY = shared.secret_key


def _found() -> Installation | None:
    """Look without a lock, and as a user who may only read."""
    loader = MigrationLoader(connection)
    known, applied = set(loader.disk_migrations), set(loader.applied_migrations)
    if any(app == Installation._meta.app_label for app, _ in applied - known):
        raise CommandError(NEWER)
    return Installation.objects.first() if known <= applied else None


def _made() -> Installation:
    """Make the tables and the row, one server at a time and all or nothing."""
    with connection.constraint_checks_disabled(), transaction.atomic():
        _lock()
        call_command("migrate", interactive=False, verbosity=0)
        values = {"secret_key": get_random_secret_key(), "token": _token()}
        return Installation.objects.get_or_create(id=ONLY, defaults=values)[0]


def _lock() -> None:
    """Wait for other servers that start. SQLite's transaction has waited for them when it began."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            # Until the end of the transaction: a lock of the session would get lost in a pooler.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def _token() -> str:
    return secrets.token_urlsafe(24)


@contextmanager
def _explained() -> Iterator[None]:
    """Say what is wrong without the driver's text, which may hold the URL; leave no connection open."""
    try:
        yield
    except (DatabaseError, OSError, UnicodeError) as error:  # UnicodeError: a host that cannot be one
        raise CommandError(_refusal(error) or _reason(error)) from None
    finally:
        connection.close()


def _refusal(error: Exception) -> str | None:
    """Say why a server of PostgreSQL could not be reached, as of a store."""
    if connection.vendor != "postgresql":
        return None
    from psycopg import OperationalError

    from checkpoints.stores.postgres.failures import refusal

    told = error.__cause__
    if not isinstance(told, OperationalError) or told.sqlstate:
        return None
    # Not its name: where a password is misplaced in the URL, that is a part of it.
    return str(refusal(told, "DATABASE_URL"))


def _reason(error: BaseException | None) -> str:
    """Say what a database does not allow. Django wraps the driver's error, twice where it migrates."""
    state = None
    while error and not state:
        state = getattr(error, "sqlstate", None)
        error = error.__cause__ or error.__context__
    return (
        f"The database of DATABASE_URL {UNUSABLE.get(state or '', 'cannot be opened or prepared')}. {ADVICE}"
    )
