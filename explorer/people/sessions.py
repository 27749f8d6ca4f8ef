"""Logged-in users: who a session belongs to, when it begins, moves on and ends. Each asks the app's database.

The sessions are Django's, without its middleware, which would save them on the event loop.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from explorer.people import masks
from explorer.people.roles import ROLES, Person

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

NOTED = timedelta(minutes=5)  # at most so often a session is told that somebody is still there


def visitor() -> Person | None:
    """Return who somebody without a login is, where such people are let in."""
    role = settings.EXPLORER_ANONYMOUS
    return Person("", (role,), masks=masks.of((role,))) if role else None


def identify(request: HttpRequest) -> Person | None:
    """Return whose session a request comes with: an active user's with a role, as they are now."""
    key = request.COOKIES.get(cookie())
    if not key:
        return None
    request.session = SessionStore(key)
    user: Any = auth.get_user(request)
    if not user.is_authenticated:
        return None
    _keep_alive(key)
    return person_of(user)


def person_of(user: Any) -> Person:
    """Return a user as a person."""
    groups = set(user.groups.values_list("name", flat=True))
    roles = tuple(role for role in ROLES if role in groups)
    return Person(user.get_username(), roles, masks=masks.of(roles))


def begin(request: HttpRequest, user: User) -> None:
    """Log a user in, under a new session id and a new CSRF token."""
    end(request)
    request.session = SessionStore()
    auth.login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    request.session.save()


def end(request: HttpRequest) -> None:
    """Forget the session that a request comes with."""
    SessionStore(request.COOKIES.get(cookie())).flush()


def give(request: HttpRequest, response: HttpResponseBase) -> None:
    """Give the browser the session's id, until it is closed."""
    response.set_cookie(
        cookie(),
        request.session.session_key or "",
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )


def take(response: HttpResponseBase) -> None:
    """Let the browser forget the session's id."""
    response.delete_cookie(cookie(), samesite="Lax")
    response.cookies[cookie()]["secure"] = settings.SESSION_COOKIE_SECURE


def cookie() -> str:
    """Name the cookie, so that over TLS no other host of the domain can set it."""
    name: str = settings.SESSION_COOKIE_NAME
    return f"__Host-{name}" if settings.SESSION_COOKIE_SECURE else name


def _keep_alive(key: str) -> None:
    """Move the end of a session on, now and then."""
    ends = timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE)
    found = Session.objects.filter(session_key=key)
    if found.filter(expire_date__lt=ends - NOTED).exists():
        found.update(expire_date=ends)
