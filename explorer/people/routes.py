"""What each route needs, said beside it in urls.py. What says nothing is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.urls import Resolver404, resolve
from django.views.decorators.http import require_http_methods

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.http import HttpRequest

    from explorer.people.roles import Permission

ANYBODY: Final = "anybody"
"""What a route needs that is open before anybody has logged in."""

_NEEDS: Final = "explorer_needs"


def allowed(view: Callable[..., Any], **methods: Permission | str) -> Callable[..., Any]:
    """Return the view for these methods, each with the permission that it needs. HEAD goes with GET.

    Another method is answered 405.
    """
    needs = {**methods, **({"HEAD": methods["GET"]} if "GET" in methods else {})}
    guarded: Callable[..., Any] = require_http_methods([*needs])(view)
    setattr(guarded, _NEEDS, needs)
    return guarded


def needs(view: Callable[..., Any]) -> Mapping[str, Permission | str] | None:
    """Return the permission that each method of a view needs; None where nobody has said."""
    return getattr(view, _NEEDS, None)


def is_open(request: HttpRequest) -> bool:
    """Tell whether anybody may send this request."""
    try:
        view = resolve(request.path_info).func
    except Resolver404:
        return False
    return (needs(view) or {}).get(request.method or "") == ANYBODY
