"""Named errors of the storage library, turned into pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import markcoroutinefunction

from checkpoints.errors import StoreError
from explorer.errors import store_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase


class StoreErrorMiddleware:
    """Answers a `StoreError` that a view or its template raised, so that no view catches one."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return await self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return store_error(request, exception) if isinstance(exception, StoreError) else None
