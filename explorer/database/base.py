"""Django's SQLite backend, with files that only their owner reads.

Django loads this module by the name of its package (`ENGINE`).
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.db.backends.sqlite3 import base

_making = threading.Lock()  # nobody connects between the making of the file and its closing


class DatabaseWrapper(base.DatabaseWrapper):
    """Makes its file, and folders that are missing, before SQLite makes them for everybody."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if not self.is_in_memory_db():
            _make_private(Path(conn_params["database"]))
        return super().get_new_connection(conn_params)


def _make_private(path: Path) -> None:
    """Make a file that is not there. One that is there is not even opened.

    When a process closes a file, it loses all of its locks on it, those of its other connections too.
    """
    with _making:
        for folder in reversed(path.parents):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
