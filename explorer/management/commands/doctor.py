"""`manage.py doctor PATH`: the same as `checkpoint-explorer doctor PATH`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from django.core.management import BaseCommand, CommandError

from checkpoints.errors import StoreError
from explorer.command import DOCTOR, add_doctor_arguments, doctor

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = DOCTOR
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_doctor_arguments(parser)

    def handle(self, **options: Any) -> None:
        try:
            status = doctor(Namespace(**options))
        except StoreError as error:
            raise CommandError(str(error)) from error
        if status:
            sys.exit(status)
