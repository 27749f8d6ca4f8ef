"""The command `checkpoint-explorer`. `manage.py explore` and `manage.py doctor` share its parts."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import TYPE_CHECKING

import django
from django.core.management import CommandError

from checkpoints import __version__
from checkpoints.errors import StoreError
from checkpoints.stores import Location, check
from explorer import server

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

DESCRIPTION = "Open LangGraph checkpoint stores in the browser."
NO_STORE = "Name a store to open: checkpoint-explorer path/to/checkpoints.sqlite"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 for a store or port that cannot be used."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
    django.setup()
    options = _parse(list(sys.argv[1:] if arguments is None else arguments))
    try:
        explore(options)
    except (CommandError, StoreError) as error:
        print(f"checkpoint-explorer: {error}", file=sys.stderr)
        return 1
    return 0


def explore(options: Namespace) -> None:
    """Check the stores, print the address and serve. Raises StoreError and CommandError."""
    if not options.stores:
        raise CommandError(NO_STORE)
    for text in options.stores:
        check(Location.parse(text))
    binding = server.bind(options.host, options.port, options.token)
    print(f"Checkpoint Explorer is at {binding.url}\nStop it with Ctrl-C.", flush=True)
    server.serve(binding, options.stores, browser=not options.no_browser)


def add_explore_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("stores", nargs="*", metavar="PATH-OR-URL", help="a store to open")
    parser.add_argument("--host", default=server.DEFAULT_HOST, help="loopback address (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=server.DEFAULT_PORT, help="default %(default)s; 0: any free one"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--token", help="use this token instead of a random one")


def _parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser("checkpoint-explorer", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=__version__)
    add_explore_arguments(parser)
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port
