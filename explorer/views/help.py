"""Keys, search and words. It reads no store, so it is also the measure of a page without data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


async def help_page(request: HttpRequest) -> HttpResponse:
    return render(request, "help/page.html")
