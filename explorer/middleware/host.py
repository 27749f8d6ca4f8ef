"""The Host check, against DNS rebinding: a foreign name that resolves to loopback is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import DisallowedHost
from django.http import HttpResponse
from django.utils.decorators import async_only_middleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


@async_only_middleware
def host(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    """Refuse requests whose Host is not one of ALLOWED_HOSTS, on every route, static files too."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        try:
            request.get_host()
        except DisallowedHost:
            return HttpResponse("This host is not served here.\n", status=400, content_type="text/plain")
        return await get_response(request)

    return middleware
