"""What psycopg and servers complain of, in our own words: theirs name hosts and users, and may quote rows."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import psycopg

from checkpoints.errors import (
    AccessRefused,
    ConnectionLost,
    NoCheckpointTables,
    ReadTimeout,
    ServerFull,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreMissing,
    StoreUnreachable,
    StoreUnreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_SECONDS = 10.0
LOCK_SECONDS = 2.0

_Found: TypeAlias = tuple[type[StoreError], str, str | None]
"""An error's class, sentence and advice; None stands for the advice of its class."""

_STARTING: _Found = StoreBusy, "{name}'s server is starting, stopping or recovering.", None
_USER: _Found = AccessRefused, "The server of {name} refused the user or the password.", None
_NONE_LEFT: _Found = ServerFull, "The server of {name} has no connection left.", None
_ENTRY: _Found = (
    AccessRefused,
    "The server of {name} admits nobody from here by this user.",
    "Its pg_hba.conf says who may come, from where, and whether encrypted.",
)
_OPTION: _Found = (
    StoreUnreadable,
    "The server of {name} does not know an option of the URL.",
    "Check the options.",
)
_SEALED: _Found = (
    StoreUnreachable,
    "No encrypted connection to {name} could be made.",
    "Check sslmode and the certificates in the URL.",
)
_OTHER_KIND: _Found = (
    StoreUnreachable,
    "None of the servers of {name} is of the kind that the URL asks for.",
    None,
)
# libpq tells nothing but a text of why it could not connect, in English unless the server was told otherwise.
_REFUSALS: tuple[tuple[str, _Found], ...] = (
    (r"password authentication failed|no password supplied|SASL|GSSAPI|PAM|LDAP", _USER),
    (r"authentication failed|authentication is required|role .* does not exist|no such user", _USER),
    (
        r"database .* does not exist|no such database",
        (StoreMissing, "There is no database {name} on this server.", "Check the name of the database."),
    ),
    (
        r"permission denied for database|not permitted to log in|not allowed to connect|not currently",
        (AccessRefused, "The role may not connect to {name}.", "GRANT CONNECT ON DATABASE lets it."),
    ),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", _ENTRY),
    (r"too many clients|too many connections|remaining connection slots|no more connections", _NONE_LEFT),
    (r"starting up|shutting down|recovery mode|not yet accepting|consistent recovery", _STARTING),
    (r"\bSSL\b|certificate|root\.crt", _SEALED),
    (r"unrecognized configuration parameter|invalid value for parameter|unsupported startup", _OPTION),
    (r"invalid command-line argument|invalid .* value|invalid connection option", _OPTION),
    (r"timeout expired|timed out", (StoreUnreachable, "The server of {name} did not answer in time.", None)),
    (r"session is read-only|session is not read-only|server is (?:not )?in hot standby", _OTHER_KIND),
    ("FATAL", (AccessRefused, "The server of {name} refused the connection.", None)),
)
_UNREACHABLE: _Found = StoreUnreachable, "No server answers for {name}.", None

_TRY_AGAIN = "Try again: the next page connects anew."
_LOST: _Found = ConnectionLost, "The connection to {name} ended in the middle of a read.", _TRY_AGAIN
_DENIED: _Found = (
    AccessRefused,
    "The role may not read all of {name}'s tables.",
    (
        "GRANT SELECT ON checkpoints, checkpoint_blobs, checkpoint_writes lets it. "
        "Where row security hides rows, it has to own the tables or have BYPASSRLS."
    ),
)
_CHANGED: _Found = NoCheckpointTables, "{name} changed its tables while it was read.", None
_RESOURCES: _Found = StoreBusy, "The server of {name} ran out of memory or room.", None
_DAMAGED: _Found = StoreDamaged, "{name} is damaged.", "Look into the server's log, and restore a backup."
_ENCODING: _Found = (
    StoreDamaged,
    "{name} holds text that cannot be read as UTF-8.",
    "Check the database's encoding.",
)
# By SQLSTATE, or its class.
_STATES: dict[str, _Found] = {
    "57014": (ReadTimeout, "{name} was read for more than {seconds:.0f} seconds.", None),
    "25P04": (ReadTimeout, "{name} was read for longer than its server lets anybody.", None),
    "55P03": (StoreBusy, f"A table of {{name}} was locked for more than {LOCK_SECONDS:.0f} seconds.", None),
    "40001": (StoreBusy, "The standby of {name} had to give way to its primary.", None),
    "40P01": (StoreBusy, "{name} is busy.", None),
    "42501": _DENIED,
    "42P01": _CHANGED,
    "42703": _CHANGED,
    "3F000": _CHANGED,
    "57P03": _STARTING,
    "53300": _NONE_LEFT,
    "53": _RESOURCES,
    "22": (StoreUnreadable, "A row of {name} is not what a saver writes.", "Look at it with psql."),
    "54001": (StoreUnreadable, "{name} holds JSON that its own server cannot write out.", ""),
    "57P": _LOST,
    "08": _LOST,
    "25P03": _LOST,
    "XX": _DAMAGED,
    "58": _DAMAGED,
    "22021": _ENCODING,
    "22P05": _ENCODING,
}


@contextmanager
def named(name: str, seconds: float | None = None) -> Iterator[None]:
    """Turn psycopg's errors into ours, of statements that may take so long.

    `name` is the database's, as it may be shown.
    """
    try:
        yield
    except psycopg.Error as error:
        raise failure(error, name, seconds) from None  # a chained one would be printed with its text
    except UnicodeDecodeError:
        raise _error(_ENCODING, name) from None


def failure(error: psycopg.Error, name: str, seconds: float | None = None) -> StoreError:
    """Name an error of a connection that was open."""
    state = error.sqlstate
    if state is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return _error(_LOST, name)
    keys = (state, state[:3], state[:2]) if state else ()
    told = f"SQLSTATE {state}" if state else type(error).__name__
    unknown = StoreUnreadable, f"{{name}} cannot be read ({told}).", "Look into the server's log."
    return _error(next((_STATES[key] for key in keys if key in _STATES), unknown), name, seconds)


def refusal(error: Exception, name: str) -> StoreError:
    """Name the reason why a connection could not be opened."""
    text = str(error)
    return _error(next((found for told, found in _REFUSALS if re.search(told, text)), _UNREACHABLE), name)


def _error(found: _Found, name: str, seconds: float | None = None) -> StoreError:
    kind, sentence, advice = found
    return kind(sentence.format(name=name, seconds=seconds or READ_SECONDS), advice=advice)
