"""All replays, newest first, with what became of each; those of one thread; and asking over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import Q

from checkpoints.errors import NotWritable
from checkpoints.masking import MASKED
from explorer import addresses, stores, tilde
from explorer.asking import MOST_SECONDS, MOST_STEPS, SECONDS_LIMIT, STEP_LIMIT, AskRefused, Wish, request_of
from explorer.asking import subject as subject_of
from explorer.audit import audited
from explorer.database.threads import in_database
from explorer.forms import ReplaysParameters
from explorer.models import Replay, State
from explorer.offload import offload
from explorer.people.roles import who
from explorer.rendering import screen
from explorer.replays import graphs, requests
from explorer.replays.errors import BadRequest
from explorer.stores import located
from explorer.views.api import as_json, body, text, told
from explorer.views.ask import parsed, told_of
from explorer.views.replay import KINDS, TONES
from explorer.wording import ago, duration, exact, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse

    from explorer.replays.graphs import WorkerLine

SHOWN = 50
FIELDS = frozenset(
    (
        "",  # which says that these are fields of a form
        "kind",
        "graph",
        "answer",
        "answers",
        "input",
        "configurable",
        "context",
        "checkpoint_id",
        "checkpoint_ns",
        "step_limit",
        "seconds_limit",
        "reason",
        "author",
    )
)


@dataclass(frozen=True, slots=True)
class ReplayLine:
    """One replay of the list."""

    href: str
    kind: str
    state: str
    tone: str
    thread: str
    thread_href: str
    store: str
    step: str
    graph: str
    author: str
    reason: str
    took: str
    asked: str
    ago: str
    error: str


@dataclass(frozen=True, slots=True)
class ReplaysScreen:
    """What the list of replays shows. `states` are the filters: name, address, whether it is chosen."""

    lines: tuple[ReplayLine, ...]
    states: tuple[tuple[str, str, bool], ...]
    state: str
    store: str
    stores: tuple[str, ...]
    thread: str
    thread_key: str
    by: str
    filtered: bool
    older: str
    newest: str
    workers: tuple[WorkerLine, ...]


async def replays(request: HttpRequest) -> HttpResponse:
    asked = ReplaysParameters.read(request.GET)
    shown = await in_database(_screen, asked, masked=bool(who(request).masks))
    return screen(request, "replays/page.html", "replays/_list.html", {"screen_of": shown})


async def thread_replays(request: HttpRequest, store: str, thread: str) -> HttpResponse:
    """Show the replays of a thread; a POST asks for one more of it and answers 201 with its address."""
    if request.method == "POST":
        return await _asked(request, store, thread)
    asked = {**ReplaysParameters.read(request.GET), "store": store, "thread": thread}
    located(store)  # or 404
    shown = await in_database(_screen, asked, masked=bool(who(request).masks))
    context = {"screen_of": shown, "store": store, "thread": thread}
    return screen(request, "replays/page.html", "replays/_list.html", context)


async def _asked(request: HttpRequest, store: str, thread: str) -> HttpResponse:
    given = body(request)
    found = await subject_of(
        who(request), located(store), thread, text(given, "checkpoint_ns"), text(given, "checkpoint_id")
    )
    wish, person = _wish(given), who(request)
    wish = replace(wish, author=person.signature or wish.author)
    asked = told_of(found.page.checkpoints[0], wish.kind, wish.graph, wish.reason)
    async with audited(person, "replay", store=store, thread=thread, details=asked) as entry:
        if found.refusal:
            raise NotWritable(found.refusal)
        made = await in_database(requests.ask, await offload(found.page.weight, request_of, wish, found))
        entry.add(replay=made.id)
    return as_json(request, told(made), status=201, address=addresses.replay(made.id))


def _wish(given: Mapping[str, Any]) -> Wish:
    """Return what is asked for in JSON or in the fields of a form. Raises BadRequest and AskRefused."""
    if unknown := sorted(set(given) - FIELDS):
        raise BadRequest(
            f"There is no field {unknown[0]!r}.", advice=f"These are: {', '.join(sorted(FIELDS - {''}))}."
        )
    if not (kind := text(given, "kind")):
        raise BadRequest("The kind is missing.", advice=f"It is one of {', '.join(KINDS)}.")
    answers: dict[str | None, Any] = {}
    if isinstance(several := _value(given, "answers"), dict):
        answers = dict(several)
    elif "answer" in given:
        answers = {None: _value(given, "answer")}
    configurable = _value(given, "configurable")
    if configurable is not None and not isinstance(configurable, dict):
        raise AskRefused("configurable is no object of JSON.", advice='Write it as {"key": "value"}.')
    return Wish(
        kind=kind,
        graph=text(given, "graph"),
        answers=answers,
        input=_value(given, "input"),
        configurable=configurable,
        context=_value(given, "context"),
        step_limit=_limit(given, "step_limit", STEP_LIMIT, MOST_STEPS),
        seconds_limit=_limit(given, "seconds_limit", SECONDS_LIMIT, MOST_SECONDS),
        reason=text(given, "reason")[:500],
        author=text(given, "author")[:100],
    )


def _value(given: Mapping[str, Any], name: str) -> Any:
    """Return a value: as it is in JSON; the field of a form holds its JSON."""
    found = given.get(name)
    is_field = isinstance(found, str) and given.get("") == "form"
    return parsed(found, name) if is_field and found else found


def _limit(given: Mapping[str, Any], name: str, default: int, most: int) -> int:
    found = given.get(name, default)
    if isinstance(found, str) and found.isascii() and found.isdecimal():
        found = int(found[:9])
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found <= most:
        raise AskRefused(f"{name} is no number from 1 to {most:,}.", advice="Leave it out for the default.")
    return found


def _screen(asked: Mapping[str, Any], *, masked: bool) -> ReplaysScreen:
    # No text with a NUL is kept, and PostgreSQL takes none to compare.
    state, store, thread, by = (
        (asked[name] or "").replace("\0", "\ufffd") for name in ("state", "store", "thread", "by")
    )
    keys = {slug: stores.key(location) for slug, location in stores.registered().items()}
    found = Replay.objects.all()
    if state in State.values:
        found = found.filter(state=state)
    if store in keys and thread:
        found = found.filter(thread_key=requests.thread_key(keys[store], thread))
    elif store in keys:
        found = found.filter(store=keys[store])
    elif thread:
        found = found.filter(thread_id__contains=thread)
    if by:
        found = found.filter(author=by)
    page = list(_before(found, asked["before"] or "")[: SHOWN + 1])
    here = {key: slug for slug, key in keys.items()}

    def href(**changed: str) -> str:
        given = {"state": state, "store": store, "thread": thread, "by": by, **changed}
        return addresses.replays(**given)

    return ReplaysScreen(
        lines=tuple(_line(replay, here, masked=masked) for replay in page[:SHOWN]),
        states=tuple((name, href(state=name), name == state) for name in ("", *State.values)),
        state=state,
        store=store,
        stores=tuple(keys),
        thread=thread,
        thread_key=tilde.encode(thread) if thread else "",
        by=by,
        filtered=bool(state or store or thread or by),
        older=href(before=_key(page[SHOWN - 1])) if len(page) > SHOWN else "",
        newest=href() if asked["before"] else "",
        workers=graphs.workers(),
    )


def _before(found: Any, key: str) -> Any:
    """Return the replays that come after a key in the list."""
    time, _, id = key.partition("_")
    try:
        at, last = datetime.fromtimestamp(int(time) / 1e6, UTC), UUID(id)
    except (ValueError, OverflowError, OSError):
        return found
    return found.filter(Q(asked_at__lt=at) | Q(asked_at=at, id__lt=last))


def _key(replay: Replay) -> str:
    micros = round(replay.asked_at.timestamp() * 1e6)
    return f"{micros}_{replay.id}"


def _line(replay: Replay, here: Mapping[str, str], *, masked: bool) -> ReplayLine:
    slug = here.get(replay.store, "")
    state = requests.state_of(replay)
    span = replay.ended_at - replay.started_at if replay.ended_at and replay.started_at else None
    return ReplayLine(
        href=addresses.replay(replay.id),
        kind=KINDS.get(replay.kind, replay.kind),
        state=state.value,
        tone=TONES.get(state.value, ""),
        thread=replay.thread_id,
        thread_href=addresses.timeline(slug, replay.thread_id) if slug else "",
        store=slug or replay.store.rpartition("/")[2],
        step=number(replay.step),
        graph=replay.graph,
        author=replay.author,
        reason=replay.reason,
        took=duration(span).removeprefix("+"),
        asked=exact(replay.asked_at),
        ago=ago(replay.asked_at, datetime.now(UTC)),
        error=replay.error[:200] if not masked else replay.error and MASKED,
    )
