"""Static files, served by whitenoise's rules from memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from asgiref.sync import markcoroutinefunction
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import HttpResponse, HttpResponseNotModified
from whitenoise.base import WhiteNoise

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from whitenoise.responders import StaticFile

# Twelve characters of a hash before the suffix, as ManifestStaticFilesStorage names its files.
HASHED = r"\.[0-9a-f]{12}\.\w+$"


class StaticMiddleware:
    """Answers requests for static files, whether or not they carry the token.

    whitenoise chooses the file, its encoding and its headers. Its own middleware is synchronous, which would
    move the whole chain into threads, and reads from disk, where the collected files may be swept away
    under a server that runs for weeks.
    """

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        self._files = _files()
        self._bodies = {
            path: Path(path).read_bytes() for file in self._files.values() for _, path, _ in file.alternatives
        }
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        file = self._files.get(request.path_info)
        if file is None or request.method not in ("GET", "HEAD"):
            return await self.get_response(request)
        if file.is_not_modified(request.META):
            return HttpResponseNotModified(headers=dict(file.not_modified_response.headers))
        path, headers = file.get_path_and_headers(request.META)
        return HttpResponse(self._bodies[path], headers=dict(headers))


def _files() -> dict[str, StaticFile]:
    collected = WhiteNoise(
        None,
        root=staticfiles_storage.path(""),
        prefix=settings.STATIC_URL,
        allow_all_origins=False,
        immutable_file_test=HASHED,
    )
    return dict(collected.files)
