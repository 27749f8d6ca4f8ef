"""`manage.py export STORE --thread ID --to FILE`: the same as `checkpoint-explorer export`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from django.core.management import BaseCommand, CommandError

from checkpoints.errors import StoreError
from explorer.bundling import EXPORT, add_export_arguments, export_bundle

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = EXPORT
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_export_arguments(parser)

    def handle(self, **options: Any) -> None:
        try:
            status = export_bundle(Namespace(**options))
        except StoreError as error:
            raise CommandError(str(error)) from error
        if status:
            sys.exit(status)
