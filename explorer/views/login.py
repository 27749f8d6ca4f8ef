"""Logging in and out, where the explorer is served to users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import User
from django.utils.http import escape_leading_slashes, url_has_allowed_host_and_scheme

from checkpoints.errors import NotFound, StoreError
from explorer import writing
from explorer.audit import audited
from explorer.database.threads import in_database
from explorer.errors import error_page, status_of
from explorer.forms import LoginForm, LoginParameters
from explorer.people import sessions, throttle
from explorer.people.roles import NOBODY, Person, who
from explorer.people.serving import served
from explorer.rendering import screen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse

PLAIN = "This page has come over plain HTTP, so a password could be read on its way."
USE_TLS = (
    "Open it with https://. Whoever administers this explorer finds in docs/people.md how it speaks TLS."
)
LOCAL = "Nobody logs in here: this explorer runs for whoever started it."


class WrongLogin(StoreError):
    """No active user has this name and this password."""

    advice = "Check both. Capital letters matter."


async def login(request: HttpRequest) -> HttpResponse:
    _require_users()
    if not (request.is_secure() or settings.EXPLORER_INSECURE_HTTP):
        return error_page(request, 403, PLAIN, USE_TLS)
    then = _safe(LoginParameters.read(request.GET)["next"] or "")
    form = LoginForm(request.POST or None)
    problem, status, wait = "", 422 if form.is_bound else 200, 0
    if form.is_bound and form.is_valid():
        try:
            await _logged_in(request, form.cleaned_data)
            done = writing.done(then)
            sessions.give(request, done)
            return done
        except StoreError as refused:
            problem, status = str(refused), status_of(refused)
            wait = refused.seconds if isinstance(refused, throttle.TooManyAttempts) else 0
    response = screen(
        request, "login/page.html", "login/_login.html", {"form": form, "problem": problem, "next": then}
    )
    response.status_code = status
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


async def logout(request: HttpRequest) -> HttpResponse:
    _require_users()
    person = who(request)
    if person.name and sessions.cookie() in request.COOKIES:
        async with audited(person, "logout"):
            await in_database(sessions.end, request)
    response = writing.done("/login/")
    sessions.take(response)
    return response


async def _logged_in(request: HttpRequest, sent: Mapping[str, Any]) -> None:
    """Begin a session. Raises TooManyAttempts, WrongLogin and NotAudited."""
    name, address = sent["name"], throttle.address_of(request)
    await in_database(throttle.count, name, address)
    # A name that nobody has may be a password that was typed into the wrong field.
    person = await in_database(_account, name) or NOBODY
    async with audited(person, "login", details={"address": address}):
        await in_database(_begin, request, name, sent["password"])
    await in_database(throttle.forgive, name, address)


def _account(name: str) -> Person | None:
    user = User.objects.filter(username=name).first()
    return sessions.person_of(user) if user else None


def _begin(request: HttpRequest, name: str, password: str) -> None:
    """Check the password, which takes as long where there is no such user, and begin the session."""
    user = auth.authenticate(request, username=name, password=password)
    if not isinstance(user, User):
        raise WrongLogin("There is no user with this name and password.")
    sessions.begin(request, user)


def _safe(then: str) -> str:
    """Return where to go after the login: a path of this site, or the list of stores."""
    if then.startswith("/") and url_has_allowed_host_and_scheme(then, allowed_hosts=None):
        return escape_leading_slashes(then)
    return "/"


def _require_users() -> None:
    if not served():
        raise NotFound(LOCAL, advice="Open the address that the command printed.")
