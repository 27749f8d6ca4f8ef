"""Replays over HTTP, for workers of one's own: look, claim, report, end. All of it is JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse, JsonResponse

from explorer import addresses, stores, writing
from explorer.asking import is_storable
from explorer.audit import audited
from explorer.database.threads import in_database
from explorer.models import Replay, State
from explorer.people.roles import who
from explorer.replays import requests
from explorer.replays.errors import BadRequest, NotHeld
from explorer.replays.jobs import config
from explorer.views.replay import found as replay_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

    from checkpoints.stores import Location
    from explorer.replays.requests import Standing

SAY_JSON = "Send it with Content-Type: application/json."
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
QUERY = ("state", "store", "graph", "thread")
LISTED = 100
REPORTED = 1_000  # events in one report


async def listing(request: HttpRequest) -> HttpResponse:
    """List replays, oldest first: all, or those of a `state`, `store`, `graph`, `thread`."""
    return JsonResponse({"replays": await in_database(_listing, request.GET.dict())})


async def one(request: HttpRequest, replay: UUID) -> HttpResponse:
    found = await in_database(replay_of, replay)
    return JsonResponse(told(found))


async def claim(request: HttpRequest, replay: UUID) -> HttpResponse:
    """Take a queued replay. 409 where another worker has, or while another replay of its thread runs."""
    given = body(request)
    worker = text(given, "worker") or "a worker over HTTP"
    asked = await in_database(replay_of, replay)
    told_of, place = {"replay": replay, "worker": worker}, {"store": asked.store, "thread": asked.thread_id}
    async with audited(who(request), "claim", **place, details=told_of):
        writing.require_not_read_only()
        taken = await in_database(requests.claim, replay, worker)
        if taken is None:
            raise NotHeld("This replay cannot be claimed now.", advice="Look for another queued one.")
    lease = {"attempt": str(taken.attempt), "lease_seconds": settings.EXPLORER_LEASE_SECONDS}
    return JsonResponse({**told(taken), **lease})


async def progress(request: HttpRequest, replay: UUID) -> HttpResponse:
    """Keep events and what was printed, and renew the lease. The answer says whether to stop.

    The audit has the claim before and the result after; these come every few seconds.
    """
    given = body(request)
    events, output = _events(given), text(given, "output")
    held = await in_database(_held, replay, _attempt(given))
    standing: Standing = await in_database(requests.report, held, events, output or None)
    if not standing.held:
        raise NotHeld("This replay is not yours any more.")
    return JsonResponse({"stop": standing.stop, "lease_seconds": settings.EXPLORER_LEASE_SECONDS})


async def result(request: HttpRequest, replay: UUID) -> HttpResponse:
    """End a replay: `state`, and of a failed one `error` and `traceback`."""
    given = body(request)
    state = given.get("state")
    if not isinstance(state, str) or state not in requests.ENDED:
        named = ", ".join(state.value for state in requests.ENDED)
        raise BadRequest(f"A replay ends as one of these states: {named}.")
    events, output = _events(given), text(given, "output")
    attempt, asked = _attempt(given), await in_database(replay_of, replay)
    told_of, place = {"replay": replay, "state": state}, {"store": asked.store, "thread": asked.thread_id}
    async with audited(who(request), "result", **place, details=told_of):
        held = await in_database(_held, replay, attempt)
        if not await in_database(requests.end, held, given, events, output or None):
            raise NotHeld("This replay is not yours any more.")
    return JsonResponse(told(await in_database(replay_of, replay)))


def told(replay: Replay, here: Mapping[str, tuple[str, Location]] | None = None) -> dict[str, Any]:
    """Return a replay as JSON: what was asked, and what has become of it. `here` are the stores by key."""
    here = stores.by_key() if here is None else here
    slug = here.get(replay.store, ("", None))[0]
    given = replay.given
    answers = given.get("answers") or {}
    return {
        "id": str(replay.id),
        "address": addresses.replay(replay.id),
        "state": requests.state_of(replay).value,
        "kind": replay.kind,
        "graph": replay.graph,
        "store": slug,
        "store_key": replay.store,
        "thread_id": replay.thread_id,
        "checkpoint_ns": replay.checkpoint_ns,
        "checkpoint_id": replay.checkpoint_id,
        "head": replay.head,
        "config": config(replay),
        "resume": answers[""] if list(answers) == [""] else answers or None,
        "input": given.get("input"),
        "context": given.get("context"),
        "step_limit": replay.step_limit,
        "seconds_limit": replay.seconds_limit,
        "reason": replay.reason,
        "author": replay.author,
        "asked_at": replay.asked_at.isoformat(),
        "started_at": replay.started_at.isoformat() if replay.started_at else None,
        "ended_at": replay.ended_at.isoformat() if replay.ended_at else None,
        "worker": replay.worker,
        "checkpoints": replay.checkpoints,
        "made": replay.made,
        "error": replay.error,
        "cancelling": replay.cancel_at is not None,
    }


def as_json(request: HttpRequest, told: Mapping[str, Any], *, status: int, address: str) -> HttpResponse:
    """Answer with an address, and in JSON with what is there when that is asked for."""
    wanted = "application/json" in (request.content_type, *request.headers.get("Accept", "").split(","))
    response: HttpResponse = (
        JsonResponse(dict(told)) if wanted else HttpResponse(f"{address}\n", "text/plain")
    )
    response.status_code = status
    response.headers["Location"] = address
    return response


def body(request: HttpRequest) -> dict[str, Any]:
    """Return the object that a request sends: JSON, or the fields of a form. Raises BadRequest."""
    if request.content_type in FORMS:
        return {**request.POST.dict(), "": "form"}
    if request.content_type != "application/json":
        raise BadRequest("The request does not say that it is JSON.", advice=SAY_JSON)
    try:
        given = json.loads(request.body or b"{}", parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest("The request's content is no JSON.") from None
    if not isinstance(given, dict):
        raise BadRequest("The request's content is no object of JSON.")
    return given


def _listing(asked: Mapping[str, str]) -> list[dict[str, Any]]:
    if unknown := sorted(set(asked) - set(QUERY)):
        raise BadRequest(f"There is no filter {unknown[0]!r}.", advice=f"These are: {', '.join(QUERY)}.")
    found = Replay.objects.order_by("asked_at", "id")
    if state := asked.get("state"):
        if state not in State.values:
            raise BadRequest(f"No replay is {state!r}.", advice=f"It is one of {', '.join(State.values)}.")
        found = found.filter(state=state)
    if thread := asked.get("thread"):
        found = found.filter(thread_id=thread)
    if "graph" in asked:  # an empty one: those that name none
        found = found.filter(graph=asked["graph"])
    if store := asked.get("store"):
        found = found.filter(store=stores.key(stores.located(store)))
    here = stores.by_key()
    return [told(each, here) for each in found[:LISTED]]


def _attempt(given: Mapping[str, Any]) -> UUID:
    try:
        return UUID(str(given.get("attempt")))
    except ValueError:
        raise BadRequest("The attempt is missing that the claim was answered with.") from None


def _held(id: UUID, attempt: UUID) -> Replay:
    replay = replay_of(id)
    if replay.attempt != attempt or replay.state != State.RUNNING:
        raise NotHeld("This replay is not yours any more.")
    return replay


def _events(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    events = given.get("events", [])
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise BadRequest("Events are a list of objects.")
    if len(events) > REPORTED:
        raise BadRequest(f"A report has at most {REPORTED:,} events.")
    return events


def text(given: Mapping[str, Any], name: str) -> str:
    """Return a field that is a text, and one that every database takes. Raises BadRequest."""
    found = given.get(name)
    if found is not None and not isinstance(found, str):
        raise BadRequest(f"{name} is no text.")
    if found and not is_storable(found):
        raise BadRequest(f"{name} has a character that cannot be kept (NUL, or half of a pair).")
    return found or ""


def _no_constant(name: str) -> Any:
    raise ValueError(name)
