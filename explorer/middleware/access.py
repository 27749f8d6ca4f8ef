"""Access in local mode: whoever has the token of this run may do what can be done here.

The token comes in the URL that the command prints. It is traded at once for a cookie and a clean URL, so that
it stays out of the history, bookmarks and screenshots. Programs send it in a header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpResponseRedirect
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.decorators import async_only_middleware
from django.utils.http import escape_leading_slashes

from explorer.errors import error_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


@async_only_middleware
def access(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    """Admit requests with the token or its cookie. Without a configured token nobody is admitted."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        token = settings.EXPLORER_TOKEN
        if not token:
            return error_page(
                request,
                403,
                "No token is set, so nobody may read here.",
                "Start the explorer with the checkpoint-explorer command, or set EXPLORER_TOKEN.",
            )
        if request.method == "GET" and constant_time_compare(request.GET.get("token", ""), token):
            return _welcome(request, token)
        if _bears(request, token):
            # What a page of a foreign site can make a browser send has no such header.
            request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
            return await get_response(request)
        if constant_time_compare(request.COOKIES.get(_cookie(request), ""), _proof(token)):
            return await get_response(request)
        return error_page(
            request,
            403,
            "This address lacks the token of this run.",
            "Programs send it as Authorization: Bearer …"
            if request.headers.get("Authorization")
            else "Open the address that the command printed; it ends in ?token=…",
        )

    return middleware


def _bears(request: HttpRequest, token: str) -> bool:
    """Tell whether a program has sent the token along: `Authorization: Bearer …`."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and constant_time_compare(given.strip(), token)


def _welcome(request: HttpRequest, token: str) -> HttpResponseRedirect:
    query = request.GET.copy()
    del query["token"]
    path = escape_leading_slashes(request.get_full_path().partition("?")[0])
    if not path.startswith("/"):  # a request target in absolute form
        path = "/"
    response = HttpResponseRedirect(f"{path}?{query.urlencode()}" if query else path)
    response.set_cookie(_cookie(request), _proof(token), httponly=True, samesite="Lax")
    return response


def _cookie(request: HttpRequest) -> str:
    """Name the cookie after the port that the browser sees: it shares cookies between the ports of a host.

    Servers that share a token share the name, too, wherever each of them listens.
    """
    if settings.EXPLORER_SHARED:
        return f"explorer_{salted_hmac('explorer.cookie', '', algorithm='sha256').hexdigest()[:12]}"
    return f"explorer_{urlsplit(f'//{request.get_host()}').port or request.get_port()}"


def _proof(token: str) -> str:
    """Derive the cookie's value. It is good for this run only, and the token cannot be read from it."""
    return salted_hmac("explorer.access", token, algorithm="sha256").hexdigest()
