"""Who a request comes from. Locally: whoever has the token of this run may do what can be done here.

The token comes in the URL that the command prints. It is traded at once for a cookie and a clean URL, so that
it stays out of the history, bookmarks and screenshots. Programs send it in a header.

Served to others: users, by their sessions; programs, by the token in a header; visitors, where they may come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.decorators import async_only_middleware
from django.utils.http import escape_leading_slashes

from explorer.database.threads import DatabaseUnavailable, in_database
from explorer.errors import error_page, for_programs, store_error
from explorer.people import sessions
from explorer.people.roles import NOBODY, PROGRAM, Person
from explorer.people.routes import is_open
from explorer.people.serving import served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    Next = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

LOG_IN = "Log in first."


@async_only_middleware
def access(get_response: Next) -> Next:
    """Admit a request with its `person`, or say how to get in."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        if served():
            return await _to_users(request, get_response)
        return await _locally(request, get_response)

    return middleware


async def _locally(request: HttpRequest, get_response: Next) -> HttpResponseBase:
    """Admit requests with the token or its cookie. Without a configured token nobody is admitted."""
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
        return await _admitted(request, Person.of_system_user(), get_response, program=True)
    if constant_time_compare(request.COOKIES.get(_cookie(request), ""), _proof(token)):
        return await _admitted(request, Person.of_system_user(), get_response)
    return error_page(
        request,
        403,
        "This address lacks the token of this run.",
        "Programs send it as Authorization: Bearer …"
        if request.headers.get("Authorization")
        else "Open the address that the command printed; it ends in ?token=…",
    )


async def _to_users(request: HttpRequest, get_response: Next) -> HttpResponseBase:
    """Admit users, programs and visitors; the others to the pages only that are open to anybody."""
    if _scheme(request) == "bearer":  # another one is of a proxy in front
        if settings.EXPLORER_TOKEN and _bears(request, settings.EXPLORER_TOKEN):
            return await _admitted(request, Person("a program", (PROGRAM,)), get_response, program=True)
        return error_page(request, 401, "This is not the token of this explorer.", "EXPLORER_TOKEN sets it.")
    found = None
    try:
        if sessions.cookie() in request.COOKIES:
            found = await in_database(sessions.identify, request)
    except DatabaseUnavailable as error:
        return store_error(request, error)
    person = found or sessions.visitor() or NOBODY
    if not person.known and not is_open(request):
        return _no_role(request, person) if person.name else _log_in(request)
    return await _admitted(request, person, get_response)


async def _admitted(
    request: HttpRequest, person: Person, get_response: Next, *, program: bool = False
) -> HttpResponseBase:
    request.person = person  # type: ignore[attr-defined]
    if program:  # what a page of a foreign site can make a browser send has no such header
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    return await get_response(request)


def _log_in(request: HttpRequest) -> HttpResponseBase:
    """Lead to the page on which one logs in, and from there back to what can be opened again."""
    wants = request.get_full_path() if request.method in ("GET", "HEAD") else ""
    if request.htmx:  # type: ignore[attr-defined]
        htmx = request.htmx  # type: ignore[attr-defined]
        wants = htmx.current_url_abs_path or ""
    here = wants.startswith("/") and wants != "/"
    login = reverse("login") + (f"?{urlencode({'next': wants})}" if here else "")
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponse(status=401, headers={"HX-Redirect": login})
    if for_programs(request):
        return error_page(request, 401, LOG_IN, "Programs send the token as Authorization: Bearer …")
    return HttpResponseRedirect(login)


def _no_role(request: HttpRequest, person: Person) -> HttpResponseBase:
    request.person = person  # type: ignore[attr-defined]
    return error_page(
        request,
        403,
        f"{person.name} has no role here yet.",
        "Whoever administers this explorer gives one: checkpoint-explorer createuser NAME --role viewer",
    )


def _scheme(request: HttpRequest) -> str:
    return request.headers.get("Authorization", "").partition(" ")[0].lower()


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
