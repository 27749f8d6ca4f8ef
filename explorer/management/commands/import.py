# ruff: noqa: N999 - the command is called so
"""`manage.py import FILE STORE`: the same as `checkpoint-explorer import`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from django.core.management import BaseCommand, CommandError

from checkpoints.errors import StoreError
from explorer.bundling import IMPORT, add_import_arguments, import_bundle

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = IMPORT
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_import_arguments(parser)

    def handle(self, **options: Any) -> None:
        try:
            status = import_bundle(Namespace(**options))
        except StoreError as error:
            raise CommandError(str(error)) from error
        if status:
            sys.exit(status)
