"""Every URL of the app, with what each method of it needs. Page URLs are stable."""

from __future__ import annotations

from django.urls import path, register_converter

from explorer.people.roles import AUDIT, DELETE, FORK, READ, REPLAY
from explorer.people.routes import ANYBODY, allowed
from explorer.tilde import TildeConverter
from explorer.views import api
from explorer.views import audit as audit_views
from explorer.views import deletion as deletion_views
from explorer.views import replay as replay_views
from explorer.views.ask import ask
from explorer.views.bytes import bytes_page
from explorer.views.checkpoint import checkpoint
from explorer.views.compare import compare
from explorer.views.deletion import deletion
from explorer.views.deletions import deletions
from explorer.views.edit import edit
from explorer.views.find import find, plan
from explorer.views.fork import fork
from explorer.views.help import help_page
from explorer.views.login import login, logout
from explorer.views.password import password
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

THREAD = "s/<slug:store>/threads/<tilde:thread>/"
DELETION = "deletions/<uuid:deletion>/"
RUN = "replays/<uuid:replay>/"
CHECKPOINT = f"{THREAD}checkpoints/<tilde:checkpoint_id>/"

urlpatterns = [
    path("", allowed(stores, GET=READ), name="stores"),
    path("login/", allowed(login, GET=ANYBODY, POST=ANYBODY), name="login"),
    path("logout/", allowed(logout, POST=ANYBODY), name="logout"),
    path("password/", allowed(password, GET=READ, POST=READ), name="password"),
    path("help/", allowed(help_page, GET=READ), name="help"),
    path("s/<slug:store>/", allowed(store, GET=READ), name="store"),
    path("s/<slug:store>/bytes/", allowed(bytes_page, GET=READ), name="bytes"),
    path("s/<slug:store>/threads/", allowed(threads, GET=READ), name="threads"),
    path(THREAD, allowed(timeline, GET=READ), name="timeline"),
    path(CHECKPOINT, allowed(checkpoint, GET=READ), name="checkpoint"),
    path(f"{CHECKPOINT}fork/", allowed(fork, GET=FORK, POST=FORK), name="fork"),
    path(f"{CHECKPOINT}edit/", allowed(edit, GET=FORK, POST=FORK), name="edit"),
    path(f"{CHECKPOINT}replay/", allowed(ask, GET=REPLAY, POST=REPLAY), name="ask"),
    path(f"{THREAD}replays/", allowed(thread_replays, GET=READ, POST=REPLAY), name="thread_replays"),
    path("s/<slug:store>/find/", allowed(find, GET=DELETE, POST=DELETE), name="find"),
    path("s/<slug:store>/deletions/", allowed(plan, POST=DELETE), name="plan"),
    path("deletions/", allowed(deletions, GET=DELETE), name="deletions"),
    path(DELETION, allowed(deletion, GET=DELETE, POST=DELETE), name="deletion"),
    path(f"{DELETION}progress/", allowed(deletion_views.progress, GET=DELETE), name="deletion_progress"),
    path(f"{DELETION}receipt.json", allowed(deletion_views.receipt, GET=DELETE), name="receipt"),
    path("replays/", allowed(replays, GET=READ), name="replays"),
    path(RUN, allowed(replay, GET=READ), name="replay"),
    path(f"{RUN}events/", allowed(replay_views.events, GET=READ), name="replay_events"),
    path(f"{RUN}cancel/", allowed(replay_views.cancel, POST=REPLAY), name="replay_cancel"),
    path("api/replays/", allowed(api.listing, GET=REPLAY), name="api_replays"),
    path(f"api/{RUN}", allowed(api.one, GET=REPLAY), name="api_replay"),
    path(f"api/{RUN}claim/", allowed(api.claim, POST=REPLAY), name="api_claim"),
    path(f"api/{RUN}progress/", allowed(api.progress, POST=REPLAY), name="api_progress"),
    path(f"api/{RUN}result/", allowed(api.result, POST=REPLAY), name="api_result"),
    path("audit/", allowed(audit_views.audit, GET=AUDIT), name="audit"),
    path("audit/export/", allowed(audit_views.export, POST=AUDIT), name="audit_export"),
    path("s/<slug:store>/compare/", allowed(compare, GET=READ), name="compare"),
    path(f"{CHECKPOINT}value/", allowed(value, GET=READ), name="value"),
    path(f"{CHECKPOINT}raw/", allowed(raw, GET=READ), name="raw"),
]
