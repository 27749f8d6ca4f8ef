"""Channel versions: increasing numbers as text, with a random part that tells branches apart."""

from __future__ import annotations

import random


def next_version(current: str | int | None) -> str:
    """Return a version after `current`: 32 digits, a dot, and a random number.

    The text must sort like the number, hence the zeros. Stores of early savers hold plain integers.
    """
    number = int(str(current).partition(".")[0]) if current is not None else 0
    return f"{number + 1:032}.{random.random():016}"  # noqa: S311 - no secret
