"""Every URL of the app. Page URLs are stable."""

from __future__ import annotations

from django.urls import path, register_converter

from explorer.tilde import TildeConverter
from explorer.views.checkpoint import checkpoint
from explorer.views.help import help_page
from explorer.views.raw import raw
from explorer.views.stores import store, stores
from explorer.views.threads import threads
from explorer.views.timeline import timeline
from explorer.views.value import value

register_converter(TildeConverter, "tilde")

handler400 = "explorer.errors.bad_request"
handler403 = "explorer.errors.permission_denied"
handler404 = "explorer.errors.page_not_found"
handler500 = "explorer.errors.server_error"

THREAD = "s/<slug:store>/threads/<tilde:thread>/"
CHECKPOINT = f"{THREAD}checkpoints/<tilde:checkpoint_id>/"

urlpatterns = [
    path("", stores, name="stores"),
    path("help/", help_page, name="help"),
    path("s/<slug:store>/", store, name="store"),
    path("s/<slug:store>/threads/", threads, name="threads"),
    path(THREAD, timeline, name="timeline"),
    path(CHECKPOINT, checkpoint, name="checkpoint"),
    path(f"{CHECKPOINT}value/", value, name="value"),
    path(f"{CHECKPOINT}raw/", raw, name="raw"),
]
