"""The command `checkpoint-explorer`. `manage.py explore`, `doctor`, `copy` and so on are the same."""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError
from setproctitle import setproctitle

from checkpoints import __version__
from checkpoints.doctor import diagnose
from checkpoints.errors import StoreError
from checkpoints.stores import Location
from explorer import logs, server
from explorer.bundling import (
    EXPORT,
    IMPORT,
    add_export_arguments,
    add_import_arguments,
    export_bundle,
    import_bundle,
)
from explorer.copying import COPY, add_copy_arguments, copy
from explorer.diagnosis import as_json, as_text
from explorer.graphs.sources import GraphsRefused
from explorer.people import command as people
from explorer.people import serving
from explorer.people.serving import add_people_arguments
from explorer.replays import beside
from explorer.retention.command import PRUNE, add_prune_arguments, prune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXPLORE = "Open LangGraph checkpoint stores in the browser."
DOCTOR = "Tell what a store is and whether all of it can be read, without showing any content."
EPILOG = (
    "checkpoint-explorer doctor PATH tells what a store is and whether all of it can be read. "
    "checkpoint-explorer copy FROM TO --thread ID copies a thread from one store to another. "
    "checkpoint-explorer export STORE --thread ID --to FILE keeps threads in a file, "
    "checkpoint-explorer import FILE STORE brings them back. "
    "checkpoint-explorer prune STORE --keep-latest tells what would go, and deletes it with --yes. "
    "checkpoint-explorer worker PATH-OR-URL --graphs langgraph.json runs replays that a server has queued. "
    "checkpoint-explorer createuser NAME --role ROLE makes a user; listusers and removeuser go with it."
)
WORKER = "Run replays that are asked for at a server over the same DATABASE_URL."
NO_GRAPH = "Name a graph to run: --graphs langgraph.json, or --graph agent=path/to/agent.py:graph"
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
    from explorer import installation  # it needs the settings

    if _refused(options.stores):
        return 1
    settings.EXPLORER_TOKEN = options.token or settings.EXPLORER_TOKEN
    settings.EXPLORER_READ_ONLY = options.read_only or settings.EXPLORER_READ_ONLY
    serving.configure(options)
    runs = _configure_graphs(options) and not options.no_worker and not settings.EXPLORER_READ_ONLY
    kept = installation.adopt(new_token=options.new_token)
    serving.check(kept, options.host)
    serving.require_safe(options)
    tls = (options.tls_cert, options.tls_key) if options.tls_cert else None
    binding = server.bind(options.host, options.port, settings.EXPLORER_TOKEN, tls)
    server.configure(binding, options.stores)
    print(f"Checkpoint Explorer is at {binding.url}\nStop it with Ctrl-C.", flush=True)
    server.serve(binding, browser=not options.no_browser, worker=kept and runs)
    return 0


def worker(options: Namespace) -> int:
    """Run replays until the process is stopped; return 1 where a store is refused. Raises CommandError."""
    from explorer import installation  # it needs the settings

    if options.beside_a_server:
        beside.take(json.loads(sys.stdin.readline()))
    else:
        settings.EXPLORER_STORES = tuple(options.stores) or settings.EXPLORER_STORES
    if not settings.EXPLORER_STORES:
        raise CommandError(NO_STORE)
    if not options.beside_a_server and _refused(settings.EXPLORER_STORES):
        return 1
    if not _configure_graphs(options):
        raise CommandError(NO_GRAPH)
    if not installation.adopt():
        return 1
    from explorer.replays import worker as workers

    setproctitle("checkpoint-explorer: worker")
    if not options.beside_a_server:
        print("The worker is waiting for replays.\nStop it with Ctrl-C.", flush=True)
    workers.work(
        options.concurrency or settings.EXPLORER_CONCURRENCY, beside_a_server=options.beside_a_server
    )
    return 0


def _refused(given: Sequence[str]) -> bool:
    """Complain of each store that cannot be opened, and tell whether there was one."""
    from explorer import startup  # it needs the settings

    refused = list(startup.refusals(given))
    for error in refused:
        _complain(error)
    return bool(refused)


def _configure_graphs(options: Namespace) -> bool:
    """Take the graphs of the options, and tell whether there are any. Raises CommandError."""
    from explorer.replays import graphs  # it needs the settings

    settings.EXPLORER_GRAPHS_FILE = (
        os.path.abspath(options.graphs) if options.graphs else settings.EXPLORER_GRAPHS_FILE
    )
    settings.EXPLORER_GRAPHS = tuple(options.graph) or tuple(settings.EXPLORER_GRAPHS)
    try:
        return bool(graphs.sources())
    except GraphsRefused as error:
        raise CommandError(str(error)) from None


def doctor(options: Namespace) -> int:
    """Print what a store is and return 1 where something in it cannot be read. Raises StoreError."""
    diagnosis = diagnose(Location.parse(options.path))
    print(as_json(diagnosis) if options.json else as_text(diagnosis))
    return 0 if diagnosis.ok else 1


def add_explore_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("stores", nargs="*", metavar="PATH-OR-URL", help="a store to open")
    parser.add_argument(
        "--host", default=server.DEFAULT_HOST, help="address to listen on (%(default)s); others need users"
    )
    parser.add_argument(
        "--port", type=_port, default=server.DEFAULT_PORT, help="default %(default)s; 0: any free one"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--read-only", action="store_true", help="offer nothing that writes to a store")
    add_graphs_arguments(parser)
    parser.add_argument(
        "--no-worker", action="store_true", help="leave replays to workers that run on their own"
    )
    add_people_arguments(parser)
    parser.add_argument("--token", help="use this token instead of a random one")
    parser.add_argument(
        "--new-token", action="store_true", help="give the servers over DATABASE_URL another token"
    )


def add_worker_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("stores", nargs="*", metavar="PATH-OR-URL", help="a store, named as at the server")
    add_graphs_arguments(parser)
    parser.add_argument("--concurrency", type=_positive, help="how many replays run at a time (2)")
    parser.add_argument("--beside-a-server", action="store_true", help=SUPPRESS)


def add_graphs_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--graphs", metavar="langgraph.json", help="the graphs that replays run")
    parser.add_argument(
        "--graph", action="append", default=[], metavar="NAME=FILE.py:VARIABLE", help="one more of them"
    )


def add_doctor_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", help="the store to look at")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _parse(arguments: list[str]) -> Namespace:
    """Parse `doctor …`, `copy …` and so on, and everything else; a store of that name is `./doctor`."""
    name = arguments[0] if arguments else ""
    if name in COMMANDS:
        words, add_arguments, run = COMMANDS[name]
        parser = Parser(f"checkpoint-explorer {name}", description=words)
        add_arguments(parser)
        return parser.parse_args(arguments[1:], Namespace(run=run))
    parser = Parser("checkpoint-explorer", description=EXPLORE, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=__version__)
    add_explore_arguments(parser)
    return parser.parse_args(arguments, Namespace(run=explore))


def _complain(error: Exception) -> None:
    print(f"checkpoint-explorer: {error}", file=sys.stderr)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 100:
        raise ArgumentTypeError("name a number from 1 to 100")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


class Command(NamedTuple):
    """What is called by its name: what it does, its arguments, and what runs it."""

    description: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


COMMANDS = {
    "audit": Command(people.AUDIT, people.add_audit_arguments, people.audit),
    "copy": Command(COPY, add_copy_arguments, copy),
    "createuser": Command(people.CREATE, people.add_create_arguments, people.create),
    "doctor": Command(DOCTOR, add_doctor_arguments, doctor),
    "export": Command(EXPORT, add_export_arguments, export_bundle),
    "import": Command(IMPORT, add_import_arguments, import_bundle),
    "listusers": Command(people.LIST, lambda parser: None, people.show),
    "prune": Command(PRUNE, add_prune_arguments, prune),
    "removeuser": Command(people.REMOVE, people.add_remove_arguments, people.remove),
    "worker": Command(WORKER, add_worker_arguments, worker),
}
