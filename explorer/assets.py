"""Static files with hashed names, collected when the server starts.

There is no build step and no STATIC_ROOT: an installed package may be read-only, and the files of a
checkout change. Collecting them takes 50 ms.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

from django.contrib.staticfiles.finders import get_finders
from whitenoise.storage import CompressedManifestStaticFilesStorage

UNUSED = ["*-4.js", "*-4.min.js"]  # django-htmx brings htmx 4 beside the htmx 2 that the pages load


class CollectedStorage(CompressedManifestStaticFilesStorage):
    """Collects all static files into a folder of its own that goes away with the process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._folder = TemporaryDirectory(prefix="checkpoint-explorer-")
        super().__init__(self._folder.name, *args, **kwargs)
        self._collect()

    def _collect(self) -> None:
        found = {}
        for finder in get_finders():
            for path, storage in finder.list(UNUSED):
                if path not in found:
                    found[path] = (storage, path)
                    with storage.open(path) as file:
                        self.save(path, file)
        for _, _, processed in self.post_process(found):
            if isinstance(processed, Exception):
                raise processed
