"""Carries deletions out in processes that may be killed: each line on standard input starts one.

A process that has everything imported forks for each, so that fifty of them take no longer than one.
"""

from __future__ import annotations

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
django.setup()

from explorer.deletions.runner import carry_out_all  # noqa: E402  it needs the settings


def main() -> None:
    """Print the id of each process, and how it ended."""
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            try:
                carry_out_all()
            finally:
                os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


main()
