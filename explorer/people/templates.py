"""What every page knows of the person who reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from explorer.people.roles import Permission, who

if TYPE_CHECKING:
    from django.http import HttpRequest


def people(request: HttpRequest) -> dict[str, Any]:
    """Return the person, and by name what they may do: `{% if may.delete %}`."""
    person = who(request)
    return {"person": person, "may": {each.value: person.may(each) for each in Permission}}
