"""Every URL of the app. Page URLs are stable."""

from __future__ import annotations

from django.urls import path, register_converter
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from explorer.tilde import TildeConverter
from explorer.views import api
from explorer.views import replay as replay_views
from explorer.views.ask import ask
from explorer.views.bytes import bytes_page
from explorer.views.checkpoint import checkpoint
from explorer.views.compare import compare
from explorer.views.edit import edit
from explorer.views.fork import fork
from explorer.views.help import help_page
from explorer.views.raw import raw
from explorer.views.replay import replay
from explorer.views.replays import replays, thread_replays
from explorer.views.stores import store, stores
from explorer.views.threads import threads
from explorer.views.timeline import timeline
from explorer.views.value import value

register_converter(TildeConverter, "tilde")

handler400 = "explorer.errors.bad_request"
handler403 = "explorer.errors.permission_denied"
handler404 = "explorer.errors.page_not_found"
handler500 = "explorer.errors.server_error"

require_form = require_http_methods(["GET", "HEAD", "POST"])

THREAD = "s/<slug:store>/threads/<tilde:thread>/"
REPLAY = "replays/<uuid:replay>/"
CHECKPOINT = f"{THREAD}checkpoints/<tilde:checkpoint_id>/"

urlpatterns = [
    path("", require_safe(stores), name="stores"),
    path("help/", require_safe(help_page), name="help"),
    path("s/<slug:store>/", require_safe(store), name="store"),
    path("s/<slug:store>/bytes/", require_safe(bytes_page), name="bytes"),
    path("s/<slug:store>/threads/", require_safe(threads), name="threads"),
    path(THREAD, require_safe(timeline), name="timeline"),
    path(CHECKPOINT, require_safe(checkpoint), name="checkpoint"),
    path(f"{CHECKPOINT}fork/", require_form(fork), name="fork"),
    path(f"{CHECKPOINT}edit/", require_form(edit), name="edit"),
    path(f"{CHECKPOINT}replay/", require_form(ask), name="ask"),
    path(f"{THREAD}replays/", require_form(thread_replays), name="thread_replays"),
    path("replays/", require_safe(replays), name="replays"),
    path(REPLAY, require_safe(replay), name="replay"),
    path(f"{REPLAY}events/", require_safe(replay_views.events), name="replay_events"),
    path(f"{REPLAY}cancel/", require_POST(replay_views.cancel), name="replay_cancel"),
    path("api/replays/", require_safe(api.listing), name="api_replays"),
    path(f"api/{REPLAY}", require_safe(api.one), name="api_replay"),
    path(f"api/{REPLAY}claim/", require_POST(api.claim), name="api_claim"),
    path(f"api/{REPLAY}progress/", require_POST(api.progress), name="api_progress"),
    path(f"api/{REPLAY}result/", require_POST(api.result), name="api_result"),
    path("s/<slug:store>/compare/", require_safe(compare), name="compare"),
    path(f"{CHECKPOINT}value/", require_safe(value), name="value"),
    path(f"{CHECKPOINT}raw/", require_safe(raw), name="raw"),
]
