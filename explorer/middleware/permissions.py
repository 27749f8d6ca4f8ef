"""Whether the person behind a request may do what it asks for. What no route says is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import markcoroutinefunction

from explorer.errors import store_error
from explorer.people.roles import NotAllowed, Permission, require, who
from explorer.people.routes import ANYBODY, needs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase


class PermissionMiddleware:
    """Looks at what the route's entry in urls.py says, before its view sees the request."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return await self.get_response(request)

    async def process_view(
        self, request: HttpRequest, view: Callable[..., Any], *_: Any
    ) -> HttpResponse | None:
        """Refuse what this person may not do; a method without an entry the view itself answers with 405."""
        try:
            _admit(request, view)
        except NotAllowed as refused:
            return store_error(request, refused)
        return None


def _admit(request: HttpRequest, view: Callable[..., Any]) -> None:
    needed = needs(view)
    if needed is None:
        raise NotAllowed("Nobody has said who may open this page.", advice="It needs an entry in urls.py.")
    need = needed.get(request.method or "")
    if isinstance(need, Permission):
        require(who(request), need)
    elif need is not None and need != ANYBODY:
        raise NotAllowed(
            "Nobody has said who may do this.", advice="Its entry in urls.py names no permission."
        )
