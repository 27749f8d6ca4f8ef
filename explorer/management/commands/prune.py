"""`manage.py prune STORE --keep-latest`: the same as `checkpoint-explorer prune`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from django.core.management import BaseCommand, CommandError

from checkpoints.errors import StoreError
from explorer.retention.command import PRUNE, add_prune_arguments, prune

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = PRUNE
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_prune_arguments(parser)

    def handle(self, **options: Any) -> None:
        try:
            status = prune(Namespace(**options))
        except StoreError as error:
            raise CommandError(str(error)) from error
        if status:
            sys.exit(status)
