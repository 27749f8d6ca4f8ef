"""`checkpoint-explorer prune`: a dry run, unless it is told to do it."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management import CommandError

from checkpoints.stores import Location
from explorer.copying import INTERRUPTED, Line
from explorer.retention.outcome import Outcome
from explorer.retention.rules import Rules, find

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

PRUNE = "Tell what rules would delete from a store; with --yes, delete it."
NO_RULE = "Say what is to go: --keep-latest, --idle-days N, or both."
NOT_KEPT = (
    "The explorer's own database cannot be used, which notes what is deleted. DATABASE_URL may name another."
)
STOPPED = "Stopped. What is deleted by now stays deleted; pruning again goes on."
MOST_DAYS = 36_500


def add_prune_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("store", metavar="STORE", help="the store")
    parser.add_argument(
        "--keep-latest", action="store_true", help="keep only what the newest checkpoints of a thread need"
    )
    parser.add_argument(
        "--idle-days", type=_days, metavar="N", help="delete threads without a checkpoint in the last N days"
    )
    parser.add_argument("--prefix", default="", help="only threads whose ids begin like this")
    parser.add_argument(
        "--where",
        action="append",
        type=_pair,
        default=[],
        metavar="KEY=VALUE",
        help="only threads with this metadata in some checkpoint; may be repeated",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="tell what would go; so it is without --yes")
    what.add_argument("--yes", action="store_true", help="do it")
    parser.add_argument("--json", action="store_true", help="print JSON")


def prune(options: Namespace) -> int:
    """Tell or do it; return 1 where something that was to go did not. Raises StoreError, CommandError."""
    rules = Rules.of(options)
    if not rules.keep_latest and rules.idle_days is None:
        raise CommandError(NO_RULE)
    line = Line()
    try:
        outcome = (
            _enforced(options.store, rules, line) if options.yes else _foreseen(options.store, rules, line)
        )
    except KeyboardInterrupt:
        line.clear()
        print(STOPPED, file=sys.stderr)
        return INTERRUPTED
    finally:
        line.clear()
    print(json.dumps(outcome.as_json(), indent=2) if options.json else "\n".join(outcome.lines()))
    print("".join(f"{text}\n" for text in outcome.complaints()), end="", file=sys.stderr)
    return 1 if outcome.failed else 0


def _foreseen(store: str, rules: Rules, line: Line) -> Outcome:
    location = Location.parse(store)
    return Outcome.foreseen(location.name, find(location, rules, line.write))


def _enforced(store: str, rules: Rules, line: Line) -> Outcome:
    from explorer import installation  # these need the settings
    from explorer.retention.enforcing import enforce

    settings.EXPLORER_STORES = (store,)
    installation.require()
    location = Location.parse(store)
    return enforce(location, rules, find(location, rules, line.write), line.write)


def _days(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MOST_DAYS:
        raise ArgumentTypeError(f"name a number of days from 1 to {MOST_DAYS:,}")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise ArgumentTypeError("metadata is written as user_id=alice")
    return key, value
