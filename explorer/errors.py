"""Errors as pages: the one place that turns them into a response.

A page says what is wrong in a sentence and what to do next in another, never more: an exception's own text
and traceback may hold what a store holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import JsonResponse

from checkpoints.errors import (
    CheckpointChanged,
    NotFound,
    NotWritable,
    ReadTimeout,
    StoreBusy,
    StoreError,
    StoreMissing,
    StoreUnreachable,
    ThreadExists,
)
from explorer.deletions.errors import NotAsPlanned
from explorer.people.roles import NotAllowed
from explorer.people.throttle import TooManyAttempts
from explorer.rendering import screen
from explorer.replays.errors import BadRequest, NotHeld
from explorer.stores import registered

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def error_page(request: HttpRequest, status: int, sentence: str, advice: str = "") -> HttpResponse:
    """Render an error as a page, as a fragment where htmx wants one, or as JSON for a program."""
    if for_programs(request):
        return JsonResponse({"error": sentence, "advice": advice}, status=status)
    context = {"status": status, "sentence": sentence, "advice": advice, "store": _store(request)}
    response = screen(request, "errors/page.html", "errors/_fragment.html", context)
    response.status_code = status
    return response


def for_programs(request: HttpRequest) -> bool:
    """Tell whether a program sent the request, and not a page."""
    return request.path_info.startswith("/api/") or request.content_type == "application/json"


def _store(request: HttpRequest) -> str | None:
    """Return the slug of the open store that the request is about."""
    match = request.resolver_match
    slug = match.kwargs.get("store") if match else None
    try:
        return slug if slug in registered() else None
    except StoreError:  # a store named in the environment cannot be opened at all; the page says so
        return None


def store_error(request: HttpRequest, error: StoreError) -> HttpResponse:
    """Render a named error of the storage library."""
    return error_page(request, status_of(error), error.sentence, error.advice)


def status_of(error: StoreError) -> int:
    """Return the HTTP status that tells of an error."""
    match error:
        case NotFound() | StoreMissing():
            return 404
        case TooManyAttempts():
            return 429
        case NotWritable() | NotAllowed():
            return 403
        case ThreadExists() | CheckpointChanged() | NotHeld() | NotAsPlanned():
            return 409
        case BadRequest():
            return 400
        case StoreBusy() | ReadTimeout() | StoreUnreachable():
            return 503
        case _:
            return 422  # there is a store, and it is not one that can be shown


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 400, "This request cannot be understood.", "Follow a link of a page instead.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 403, "This is not allowed.")


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    return error_page(request, 403, "The form does not come from this page.", "Reload it and send it again.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 404, "There is no page at this address.", "Start from the list of stores.")


def server_error(request: HttpRequest) -> HttpResponse:
    return error_page(
        request, 500, "The explorer failed at this page.", "The terminal where it runs says why."
    )
