"""Every URL of the app. Page URLs are stable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.urls import path

if TYPE_CHECKING:
    from django.http import HttpRequest

handler400 = "explorer.errors.bad_request"
handler403 = "explorer.errors.permission_denied"
handler404 = "explorer.errors.page_not_found"
handler500 = "explorer.errors.server_error"


async def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<!doctype html><title>Checkpoint Explorer</title><p>The stores will be here.")


urlpatterns = [path("", index, name="index")]
