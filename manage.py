"""Django's command line for a checkout."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line
from setproctitle import setproctitle

if __name__ == "__main__":
    setproctitle("checkpoint-explorer")  # a store's URL may hold a password
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
    execute_from_command_line(sys.argv)
