"""A pasted list of thread ids: one in a line, since an id may hold any other separator."""

from __future__ import annotations

from checkpoints.errors import TooManyIds

MOST_IDS = 100_000


def pasted(text: str) -> tuple[str, ...]:
    """Return the ids of a list, each once and in its order. Raises TooManyIds.

    Lines end with LF, CR LF or CR. Blank ones are left out, and spaces and tabs around an id; all else is
    part of it. An id that holds a line break, or begins with a space, cannot be pasted.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    ids = tuple(dict.fromkeys(id for line in lines if (id := line.strip(" \t"))))
    if len(ids) > MOST_IDS:
        raise TooManyIds(f"The list has {len(ids):,} thread ids; one selection takes {MOST_IDS:,}.")
    return ids
