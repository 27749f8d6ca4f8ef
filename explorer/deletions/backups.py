"""Backups of what was deleted: bundles in a folder of this server's user, for a week."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.utils import timezone

from checkpoints.errors import NotWritable

if TYPE_CHECKING:
    from datetime import datetime

    from explorer.models import Deletion

KEPT: Final = timedelta(days=7)


def folder() -> Path:
    """Return the folder of backups, made for its owner alone."""
    path = Path(settings.EXPLORER_BACKUPS)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritable(
            f"Backups cannot be kept: {error.strerror}.",
            advice="EXPLORER_BACKUPS names their folder. Or stop this, and delete without a backup.",
        ) from None
    return path


def place(deletion: Deletion) -> str:
    """Return where the backup of a deletion is made. What a crash has left there is dropped."""
    path = folder() / f"{deletion.id}.sqlite"
    with suppress(FileNotFoundError):
        path.unlink()
    return str(path)


def path_of(deletion: Deletion) -> Path | None:
    """Return the file of a backup, if this server has it."""
    path = Path(settings.EXPLORER_BACKUPS) / os.path.basename(deletion.backup)
    return path if deletion.backup and path.is_file() else None


def is_kept(deletion: Deletion, now: datetime) -> bool:
    """Tell whether a backup is kept somewhere, as far as is known."""
    return bool(deletion.backup and deletion.backup_until and deletion.backup_until > now)


def drop(deletion: Deletion) -> bool:
    """Remove the file of a backup, and tell whether this server had it."""
    path = path_of(deletion)
    if path:
        path.unlink()
    return path is not None


def sweep(now: datetime) -> None:
    """Remove what this server has kept for a week, whatever has become of its deletion or its store."""
    oldest = (now - KEPT).timestamp()
    with suppress(FileNotFoundError):
        for file in list(os.scandir(settings.EXPLORER_BACKUPS)):
            if file.is_file() and file.stat().st_mtime < oldest:
                os.unlink(file.path)


def until() -> datetime:
    return timezone.now() + KEPT
