"""Where a store is: what the user typed, parsed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlencode

from checkpoints.errors import DriverMissing, UnsupportedLocation

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_POSTGRES = re.compile(r"postgres(?:ql)?:(?P<slashes>//)?", re.IGNORECASE)
_SEARCH_PATH = re.compile(r"-c ?search_path=[\w\"$, ]+", re.ASCII)
_ADVICE = {"sqlite": "Give the path of the SQLite file alone.", "file": "Give the path alone."}
# A password with a raw / or @ is taken for a host, a port or a database, and would be shown as one.
_MISPLACED = re.compile(r"[^/?]*@[^/?]*@|[^/?]*/[^?]*@|\0")
_UNSURE = re.compile(r"[=/:@]")  # a database of such a name may be a connection string with a password


@dataclass(frozen=True, slots=True)
class Location:
    """The place of one store, a SQLite file or a PostgreSQL database.

    `text` can be shown: what the user typed, without user, password and whatever else may be a secret.
    `path` is the absolute path of a file, `conninfo` how libpq reaches a database, secrets included.
    """

    text: str
    path: str = ""
    conninfo: str = field(default="", repr=False)
    database: str = ""

    @classmethod
    def parse(cls, text: str) -> Location:
        """Parse a path or a postgresql:// URL. Raises UnsupportedLocation; without psycopg DriverMissing."""
        if not text:
            raise UnsupportedLocation("No path was given.")
        if scheme := _POSTGRES.match(text):
            if not scheme["slashes"]:  # no path: an error would show the end of it, password and all
                raise UnsupportedLocation("A PostgreSQL URL begins with postgresql://.")
            return cls._of_url(f"postgresql://{text[scheme.end() :]}")
        if scheme := _SCHEME.match(text):
            raise _unsupported(scheme[0])
        return cls(text, os.path.abspath(os.path.expanduser(text)))

    @classmethod
    def _of_url(cls, url: str) -> Location:
        parameters = _parameters(url)
        name = parameters.get("dbname") or os.environ.get("PGDATABASE") or "postgresql"
        database = "postgresql" if _UNSURE.search(name) else printable(name)
        return cls(_public(parameters, database), conninfo=url, database=database)

    @property
    def kind(self) -> Literal["sqlite", "postgres"]:
        return "postgres" if self.conninfo else "sqlite"

    @property
    def name(self) -> str:
        """The name of the database, or the file's without its folder, as it can be shown."""
        return self.database or shown(os.path.basename(self.path))


def shown(path: str) -> str:
    """Return a path as text that can be written, also one whose bytes are no text."""
    return os.fsencode(path).decode(errors="replace")


def printable(text: str) -> str:
    """Return a name without what would move a terminal's cursor."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _unsupported(scheme: str) -> UnsupportedLocation:
    kind, _, driver = scheme.removesuffix("://").lower().partition("+")
    if kind in {"postgres", "postgresql"} and driver:
        return UnsupportedLocation(
            f"No store is opened by {scheme}.", advice="Write it as postgresql://, without the driver's name."
        )
    return UnsupportedLocation(f"No store is opened by {scheme}.", advice=_ADVICE.get(kind))


def _parameters(url: str) -> dict[str, str]:
    """Take a URL apart as libpq does, whose own complaints quote it."""
    not_understood = UnsupportedLocation(
        "This PostgreSQL URL cannot be understood.",
        advice="Write postgresql://user:password@host:port/database, special characters percent-encoded.",
    )
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise DriverMissing("Reading PostgreSQL needs psycopg, which is not installed.") from None
    try:
        found = conninfo_to_dict(url)
    except (ProgrammingError, ValueError):  # ValueError: text that is no UTF-8
        raise not_understood from None
    parameters = {key: str(value) for key, value in found.items() if value is not None}
    ports = parameters.get("port", "").split(",")
    if _MISPLACED.match(url.partition("//")[2]) or not all(port.isdecimal() for port in ports if port):
        raise not_understood
    return parameters


def _public(parameters: dict[str, str], database: str) -> str:
    """Write a URL of what may be seen: hosts, ports, the database and the schemas."""
    hosts = parameters.get("host") or parameters.get("hostaddr") or ""
    options = parameters.get("options", "")
    ports = parameters.get("port", "").split(",")
    query = {}
    if hosts.startswith(("/", "@")):
        query["host"], hosts = hosts, ""
    if _SEARCH_PATH.fullmatch(options):
        query["options"] = options
    each = enumerate(hosts.split(",") if hosts else ())
    netloc = ",".join(_host(host, ports[place] if place < len(ports) else ports[0]) for place, host in each)
    address = f"postgresql://{netloc}/{quote(database)}"
    return f"{address}?{urlencode(query, quote_via=quote, safe='/,=')}" if query else address


def _host(host: str, port: str) -> str:
    host = f"[{host}]" if ":" in host else quote(host)
    return f"{host}:{quote(port)}" if port else host
