"""What a person may do: permissions, and the roles that hold them.

Who came with the token of a local run may do all of it. Where the explorer is served to users, each has
roles, which are Django's groups of these names.
"""

from __future__ import annotations

import getpass
import os
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Final

from checkpoints.errors import StoreError
from checkpoints.masking import NO_MASKS, Masks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest


class Permission(StrEnum):
    """One kind of thing that can be done here. FORK is to fork and to edit."""

    READ = "read"
    FORK = "fork"
    REPLAY = "replay"
    DELETE = "delete"
    EXPORT = "export"
    AUDIT = "audit"
    ADMINISTER = "administer"


READ, FORK, REPLAY, DELETE, EXPORT, AUDIT, ADMINISTER = Permission
VIEWER, SUPPORT, DEVELOPER, ADMIN = "viewer", "support", "developer", "admin"
PROGRAM: Final = "program"
"""The role of what sends the token of a server with users; no user has it."""

ROLES: Final[Mapping[str, frozenset[Permission]]] = {
    VIEWER: frozenset({READ}),
    SUPPORT: frozenset({READ, DELETE, EXPORT}),
    DEVELOPER: frozenset({READ, FORK, REPLAY, DELETE, EXPORT}),
    ADMIN: frozenset(Permission),
}
_UNMASKED: Final = frozenset({REPLAY, EXPORT})
"""What hands out whole states, so nobody may do it for whom something is masked."""
_HELD: Final = {**ROLES, PROGRAM: frozenset({READ, REPLAY})}


class NotAllowed(StoreError):
    """Something that this person's roles do not include."""

    advice = "Ask whoever administers this explorer."


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever a request comes from. `local`: with the token of a run on this machine, or at its terminal.

    `masks` are what they do not see of a store. They cannot take it elsewhere then, nor run graphs with it.
    """

    name: str
    roles: tuple[str, ...] = ()
    local: bool = False
    masks: Masks = NO_MASKS

    @classmethod
    def of_system_user(cls) -> Person:
        """Return whoever runs this process."""
        return cls(_system_user(), local=True)

    @property
    def known(self) -> bool:
        """Whether this is somebody: the local user, a user with a role, or an admitted visitor."""
        return self.local or bool(self.roles)

    @property
    def signature(self) -> str:
        """The name under what this person asks for; a local run has never asked for one."""
        return "" if self.local else self.name

    def may(self, permission: Permission) -> bool:
        """Tell whether this person may do something."""
        return self.holds(permission) and not (self.masks and permission in _UNMASKED)

    def holds(self, permission: Permission) -> bool:
        """Tell whether a permission is among those of this person's roles, whatever is masked for them."""
        return self.local or any(permission in _HELD.get(role, ()) for role in self.roles)


NOBODY: Final = Person("")


def who(request: HttpRequest) -> Person:
    """Return who a request comes from: `request.person`, which the access middleware has set."""
    found = getattr(request, "person", NOBODY)
    assert isinstance(found, Person)
    return found


def require(person: Person, permission: Permission) -> None:
    """Raise NotAllowed, which says which roles it takes, where a person may not do this."""
    if person.may(permission):
        return
    if person.holds(permission):
        raise NotAllowed(f"Some values are masked for you, so you cannot {permission} here.")
    takes = " or ".join(role for role, held in ROLES.items() if permission in held)
    has = f"yours is {' and '.join(person.roles)}" if person.roles else "you have none"
    raise NotAllowed(f"This takes the role {takes}; {has}.")


@cache
def _system_user() -> str:
    with suppress(OSError, KeyError, ImportError):  # a container may know no name
        return getpass.getuser()
    return f"uid {os.getuid()}" if hasattr(os, "getuid") else "local user"
