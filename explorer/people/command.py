"""`checkpoint-explorer createuser`, `listusers`, `removeuser` and `audit`."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from datetime import date
from getpass import getpass
from typing import TYPE_CHECKING

from django.core.management import CommandError

from explorer.people.roles import ROLES, Person
from explorer.people.serving import NO_DATABASE

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

CREATE = "Make a user, or give one another role. It holds from their next request on."
LIST = "List the users."
AUDIT = "Print who has done what, as JSON lines or CSV."
REMOVE = "Shut a user out at once. The name stays, as the audit has it; createuser lets them in again."
TWO = "The passwords are not the same. Nothing was changed."


def add_create_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="what the user logs in with")
    parser.add_argument("--role", choices=list(ROLES), help="viewer for a new user, if it is not said")
    parser.add_argument("--new-password", action="store_true", help="ask for another password")
    parser.add_argument("--password-stdin", action="store_true", help="read it from a line of standard input")


def add_remove_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="whom to shut out")


def create(options: Namespace) -> int:
    """Make or change a user. Raises CommandError and AccountRefused."""
    _prepare()
    from explorer.audit import recorded  # these need the settings and the tables
    from explorer.people import accounts

    old = accounts.found(options.name)
    if old is None:
        accounts.check_name(options.name)  # before anybody types a password
    password = _password(options) if old is None or options.new_password or options.password_stdin else ""
    role = options.role or ("" if old else "viewer")
    told = {"user": options.name, "role": role, "password": "set" if password else ""}
    with recorded(Person.of_system_user(), "user", details=told):
        if old is None:
            accounts.create(options.name, password, role)
        else:
            accounts.change(options.name, role=role, password=password, active=True)
    roles = next(each.roles for each in accounts.listed() if each.name == options.name)
    print(f"{options.name} can log in as {' and '.join(roles) or 'nobody: give a --role'}.")
    return 0


def remove(options: Namespace) -> int:
    """Shut a user out. Raises CommandError and AccountRefused."""
    _prepare()
    from explorer.audit import recorded
    from explorer.people import accounts

    with recorded(Person.of_system_user(), "user", details={"user": options.name, "shut_out": True}):
        accounts.change(options.name, active=False)
    print(f"{options.name} cannot log in any more.")
    return 0


def show(options: Namespace) -> int:
    """Print a line for each user. Raises CommandError."""
    _prepare()
    from explorer.people import accounts

    for each in accounts.listed():
        roles = " ".join(each.roles) or "no role"
        seen = f"logged in {each.last_login:%Y-%m-%d %H:%M} UTC" if each.last_login else "never logged in"
        print(f"{each.name}\t{roles if each.active else 'shut out'}\t{seen}")
    return 0


def add_audit_arguments(parser: ArgumentParser) -> None:
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="JSON lines, as without it")
    kind.add_argument("--csv", action="store_true", help="CSV")
    parser.add_argument("--who", default="", help="of this person")
    parser.add_argument("--action", default="", help="of this kind: fork, delete, login …")
    parser.add_argument("--since", type=_day, metavar="YYYY-MM-DD", help="from this day on, UTC")
    parser.add_argument("--until", type=_day, metavar="YYYY-MM-DD", help="up to this day, UTC")


def audit(options: Namespace) -> int:
    """Print rows of the audit, which is noted there. Raises CommandError and NotAudited."""
    _prepare()
    from explorer import trail
    from explorer.audit import recorded

    of = trail.Wanted(options.who, options.action, since=options.since, until=options.until)
    told = {"what": "audit", "format": "csv" if options.csv else "jsonl"}
    with recorded(Person.of_system_user(), "export", details=told) as entry:
        entry.add(rows=trail.export(of, sys.stdout, as_csv=options.csv))
    return 0


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError("a day is written as 2026-11-28") from None


def _prepare() -> None:
    from explorer import installation

    if not installation.adopt():
        raise CommandError(NO_DATABASE)


def _password(options: Namespace) -> str:
    if options.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise CommandError("There is no terminal to ask at. Give the password with --password-stdin.")
    first = getpass(f"Password of {options.name}: ")
    if first != getpass("Once more: "):
        raise CommandError(TWO)
    return first
