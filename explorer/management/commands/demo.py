"""`manage.py demo PATH`: write a store to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management import BaseCommand, CommandError

if TYPE_CHECKING:
    from argparse import ArgumentParser

NEEDS_LANGGRAPH = "The demo runs a LangGraph agent: pip install 'langgraph-checkpoint-explorer[demo]'"


class Command(BaseCommand):
    help = "Write a demo store by running a LangGraph agent with a scripted chat model."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, help="the SQLite file to write")

    def handle(self, *, path: Path, **options: Any) -> None:
        if path.exists():
            raise CommandError(f"{path} exists already; the demo overwrites nothing.")
        try:
            from explorer.demo import write
        except ModuleNotFoundError as error:
            raise CommandError(NEEDS_LANGGRAPH) from error
        self.stdout.write(f"Wrote {path} with {write(path)} threads.")
