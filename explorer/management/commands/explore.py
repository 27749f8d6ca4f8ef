"""`manage.py explore`: the same as the command `checkpoint-explorer`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from django.core.management import BaseCommand

from explorer.command import EXPLORE, add_explore_arguments, explore

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = EXPLORE
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_explore_arguments(parser)

    def handle(self, **options: Any) -> None:
        if status := explore(Namespace(**options)):
            sys.exit(status)
