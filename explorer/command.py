"""The command `checkpoint-explorer`. `manage.py explore`, `doctor` and `copy` are the same."""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, NoReturn

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError

from checkpoints import __version__
from checkpoints.doctor import diagnose
from checkpoints.errors import StoreError
from checkpoints.stores import Location
from explorer import logs, server
from explorer.copying import COPY, add_copy_arguments, copy
from explorer.diagnosis import as_json, as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPLORE = "Open LangGraph checkpoint stores in the browser."
DOCTOR = "Tell what a store is and whether all of it can be read, without showing any content."
EPILOG = (
    "checkpoint-explorer doctor PATH tells what a store is and whether all of it can be read. "
    "checkpoint-explorer copy FROM TO --thread ID copies a thread from one store to another."
)
NO_STORE = "Name a store to open: checkpoint-explorer path/to/checkpoints.sqlite"


class Parser(ArgumentParser):
    """An argument parser whose complaints repeat no password."""

    def error(self, message: str) -> NoReturn:
        super().error(re.sub(r"(\w+://)\S*", r"\1…", message))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 for a store or port that cannot be used."""
    sys.excepthook = logs.print_frames
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
    try:
        django.setup()
        options = _parse(list(sys.argv[1:] if arguments is None else arguments))
        return int(options.run(options))
    except (CommandError, ImproperlyConfigured, StoreError) as error:
        _complain(error)
        return 1


def explore(options: Namespace) -> int:
    """Check the stores, print the address and serve; return 1 where one is refused. Raises CommandError."""
    if not options.stores:
        raise CommandError(NO_STORE)
    from explorer import installation, startup  # they need the settings

    if refused := list(startup.refusals(options.stores)):
        for error in refused:
            _complain(error)
        return 1
    settings.EXPLORER_TOKEN = options.token or settings.EXPLORER_TOKEN
    settings.EXPLORER_READ_ONLY = options.read_only or settings.EXPLORER_READ_ONLY
    installation.adopt(new_token=options.new_token)
    binding = server.bind(options.host, options.port, settings.EXPLORER_TOKEN)
    server.configure(binding, options.stores)
    print(f"Checkpoint Explorer is at {binding.url}\nStop it with Ctrl-C.", flush=True)
    server.serve(binding, browser=not options.no_browser)
    return 0


def doctor(options: Namespace) -> int:
    """Print what a store is and return 1 where something in it cannot be read. Raises StoreError."""
    diagnosis = diagnose(Location.parse(options.path))
    print(as_json(diagnosis) if options.json else as_text(diagnosis))
    return 0 if diagnosis.ok else 1


def add_explore_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("stores", nargs="*", metavar="PATH-OR-URL", help="a store to open")
    parser.add_argument("--host", default=server.DEFAULT_HOST, help="loopback address (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=server.DEFAULT_PORT, help="default %(default)s; 0: any free one"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--read-only", action="store_true", help="offer nothing that writes to a store")
    parser.add_argument("--token", help="use this token instead of a random one")
    parser.add_argument(
        "--new-token", action="store_true", help="give the servers over DATABASE_URL another token"
    )


def add_doctor_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", help="the store to look at")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _parse(arguments: list[str]) -> Namespace:
    """Parse `doctor PATH`, `copy FROM TO` and everything else; a store of that name is `./doctor`."""
    if arguments[:1] == ["doctor"]:
        parser = Parser("checkpoint-explorer doctor", description=DOCTOR)
        add_doctor_arguments(parser)
        return parser.parse_args(arguments[1:], Namespace(run=doctor))
    if arguments[:1] == ["copy"]:
        parser = Parser("checkpoint-explorer copy", description=COPY)
        add_copy_arguments(parser)
        return parser.parse_args(arguments[1:], Namespace(run=copy))
    parser = Parser("checkpoint-explorer", description=EXPLORE, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=__version__)
    add_explore_arguments(parser)
    return parser.parse_args(arguments, Namespace(run=explore))


def _complain(error: Exception) -> None:
    print(f"checkpoint-explorer: {error}", file=sys.stderr)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)
