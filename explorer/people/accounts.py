"""Users in the app's own database: made, given a role, shut out. None is deleted, as the audit names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from checkpoints.errors import StoreError
from explorer.people.roles import ROLES
from explorer.people.sessions import person_of

if TYPE_CHECKING:
    from datetime import datetime

LONGEST = 150


class AccountRefused(StoreError):
    """A user that cannot be made or changed like this."""

    advice = "Nothing was changed."


@dataclass(frozen=True, slots=True)
class Account:
    """A user, as a list shows it."""

    name: str
    roles: tuple[str, ...]
    active: bool
    last_login: datetime | None


def exist() -> bool:
    """Tell whether anybody could log in and see something."""
    return User.objects.filter(is_active=True, groups__name__in=ROLES).exists()


def listed() -> list[Account]:
    """Return all users by name."""
    users = User.objects.order_by("username").prefetch_related("groups")
    return [Account(user.username, person_of(user).roles, user.is_active, user.last_login) for user in users]


def found(name: str) -> User | None:
    """Return the user of a name."""
    return User.objects.filter(username=name).first()


def check_name(name: str) -> None:
    """Refuse a name that nobody could type, or that looks like that of somebody else."""
    try:
        User.username_validator(name)
    except ValidationError:
        raise AccountRefused(
            "This cannot be a name.", advice="Use letters, digits and @ . + - _ without spaces."
        ) from None
    if len(name) > LONGEST:
        raise AccountRefused(f"A name has at most {LONGEST} characters.")
    if other := User.objects.filter(username__iexact=name).exclude(username=name).first():
        raise AccountRefused(f"There is a user {other.username} already, who differs in capital letters.")


@transaction.atomic
def create(name: str, password: str, role: str) -> None:
    """Make a user. Raises AccountRefused, where the password is too easy as well."""
    check_name(name)
    user = User(username=name)
    _set_password(user, password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        raise AccountRefused(f"There is a user {name} already.") from None
    _give(user, role)


@transaction.atomic
def change(name: str, *, role: str = "", password: str = "", active: bool | None = None) -> None:
    """Give a user another role or password, or shut them out. It holds from their next request on."""
    user = User.objects.select_for_update().filter(username=name).first()
    if user is None:
        raise AccountRefused(f"There is no user {name}.", advice="checkpoint-explorer listusers lists them.")
    if password:
        _set_password(user, password)
    if active is not None:
        user.is_active = active
    user.save()
    if role:
        _give(user, role)


def _set_password(user: User, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise AccountRefused(" ".join(error.messages), advice="Choose another password.") from None
    user.set_password(password)


def _give(user: User, role: str) -> None:
    if role not in ROLES:
        raise AccountRefused(f"There is no role {role}.", advice=f"These are: {', '.join(ROLES)}.")
    user.groups.set([Group.objects.get_or_create(name=role)[0]])
