"""Users of a served explorer, and their browsers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group, User
from django.test import AsyncClient

from explorer.database.threads import in_database

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

PASSWORD = "correct horse battery staple"
QUICK = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def serve_to_users(settings: SettingsWrapper, anonymous: str = "") -> None:
    """Serve to users, whose passwords are hashed quickly."""
    settings.EXPLORER_USERS, settings.EXPLORER_ANONYMOUS = True, anonymous
    settings.EXPLORER_INSECURE_HTTP, settings.SESSION_COOKIE_SECURE = True, False
    settings.PASSWORD_HASHERS = QUICK


async def user(name: str, *roles: str, active: bool = True) -> None:
    await in_database(_user, name, roles, active)


def _user(name: str, roles: tuple[str, ...], active: bool) -> None:
    found, _ = User.objects.get_or_create(username=name)
    found.set_password(PASSWORD)
    found.is_active = active
    found.save()
    found.groups.set(Group.objects.get_or_create(name=role)[0] for role in roles)


async def log_in(client: AsyncClient, name: str, password: str = PASSWORD, **query: str) -> Any:
    return await client.post("/login/", {"name": name, "password": password}, query_params=query)


async def browser_of(role: str, **options: Any) -> AsyncClient:
    """Return the browser of a user with a role, who has logged in."""
    client = AsyncClient(**options)
    if role:
        await user(role, role)
        assert (await log_in(client, role)).status_code == 303
    return client
