"""Changing one's own password. It ends the other sessions of this user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from checkpoints.errors import NotFound, StoreError
from explorer import writing
from explorer.audit import audited
from explorer.database.threads import in_database
from explorer.errors import status_of
from explorer.forms import PasswordForm
from explorer.people import sessions, throttle
from explorer.people.accounts import AccountRefused
from explorer.people.roles import PROGRAM, who
from explorer.rendering import screen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse

NO_PASSWORD = "You have no password here."  # noqa: S105
WRONG = "This is not your password."


async def password(request: HttpRequest) -> HttpResponse:
    person = who(request)
    if person.local or not person.name or PROGRAM in person.roles:
        raise NotFound(NO_PASSWORD, advice="Whoever logs in with a name has one.")
    form = PasswordForm(request.POST or None)
    problem, status = "", 422 if form.is_bound else 200
    if form.is_bound and form.is_valid():
        try:
            async with audited(person, "password"):
                await in_database(_change, request, form.cleaned_data)
            done = writing.done("/password/?done=1")
            sessions.give(request, done)
            return done
        except StoreError as refused:
            problem, status = str(refused), status_of(refused)
    context = {"form": form, "problem": problem, "done": "done" in request.GET and not form.is_bound}
    response = screen(request, "password/page.html", "password/_password.html", context)
    response.status_code = status
    return response


def _change(request: HttpRequest, sent: Mapping[str, Any]) -> None:
    """Set the new password and go on with a new session. Raises TooManyAttempts and AccountRefused."""
    name, address = who(request).name, throttle.address_of(request)
    throttle.count(name, address)
    user = User.objects.get(username=name)
    if not user.check_password(sent["old"]):
        raise AccountRefused(WRONG)
    throttle.forgive(name, address)
    try:
        validate_password(sent["new"], user)
    except ValidationError as error:
        raise AccountRefused(" ".join(error.messages), advice="Choose another password.") from None
    user.set_password(sent["new"])
    user.save(update_fields=["password"])
    sessions.begin(request, user)
