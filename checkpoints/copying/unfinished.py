"""Files that are made beside their place and put there when they are whole: nobody sees half of one."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def unfinished(path: str) -> Iterator[str]:
    """Give the path of a file to be made in the same folder. What is left of it in the end is removed."""
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.unfinished")
    try:
        yield beside
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                os.unlink(beside + suffix)


def publish(beside: str, path: str) -> None:
    """Give a file its name. Raises FileExistsError when that is taken."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # not every file system has links
        if os.path.lexists(path):
            raise FileExistsError from None
        os.rename(beside, path)
