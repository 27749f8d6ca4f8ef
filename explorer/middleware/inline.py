"""Middleware of others with synchronous hooks, run on the event loop.

`MiddlewareMixin` sends each hook to a thread. These hooks only look at headers and cookies, so they run
where they are called: four of them in threads doubled the time of a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csp.middleware import CSPMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.deprecation import MiddlewareMixin

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


class InlineHooks(MiddlewareMixin):
    """Calls `process_request` and `process_response` in place."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        hooks: Any = self
        response = hooks.process_request(request) or await hooks.get_response(request)
        answer: HttpResponseBase = hooks.process_response(request, response)
        return answer


class CspMiddleware(InlineHooks, CSPMiddleware):
    """django-csp's Content-Security-Policy."""


class CsrfMiddleware(InlineHooks, CsrfViewMiddleware):
    """Django's CSRF check. The form of a POST that it looks at has arrived before."""

    async def process_view(self, *arguments: Any) -> HttpResponseBase | None:  # type: ignore[override]
        return super().process_view(*arguments)
