"""`python -m explorer`, and where `checkpoint-explorer` begins."""

from __future__ import annotations

import sys

from setproctitle import setproctitle


def main() -> int:
    """Hide the arguments from other users, who would see the password in a URL; then run the command."""
    setproctitle("checkpoint-explorer")
    try:
        from explorer.command import main as command  # takes most of the time until the command runs

        return command()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
