"""`manage.py copy FROM TO --thread ID`: the same as `checkpoint-explorer copy`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from django.core.management import BaseCommand, CommandError

from checkpoints.errors import StoreError
from explorer.copying import COPY, add_copy_arguments, copy

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = COPY
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_copy_arguments(parser)

    def handle(self, **options: Any) -> None:
        try:
            status = copy(Namespace(**options))
        except StoreError as error:
            raise CommandError(str(error)) from error
        if status:
            sys.exit(status)
