"""`manage.py worker PATH`: the same as `checkpoint-explorer worker PATH`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from django.core.management import BaseCommand

from explorer.command import WORKER, add_worker_arguments, worker

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = WORKER
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_worker_arguments(parser)

    def handle(self, **options: Any) -> None:
        if status := worker(Namespace(**options)):
            sys.exit(status)
