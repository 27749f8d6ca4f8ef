"""Finding the threads that are to be deleted, and planning that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from checkpoints.errors import SelectionRefused
from checkpoints.selection import Criteria, Held, Selection, select
from explorer import addresses, tilde, writing
from explorer.database.threads import in_database
from explorer.deletions import plans
from explorer.finding import Wanted, wanted
from explorer.forms import FindForm, PlanForm, plain
from explorer.people.roles import who
from explorer.reading import read
from explorer.rendering import screen
from explorer.stores import located
from explorer.wording import ago, count, exact, size

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse, QueryDict

SHOWN = 200  # threads of a page; a plan takes all that were found
MISSING = 20
LONGEST = 4_000  # characters of a query; proxies take 8,000 for an address and its cookies
CHOSEN = "chosen one by one"


@dataclass(frozen=True, slots=True)
class FoundLine:
    """One thread that was found. `key` is its id as a form sends it."""

    key: str
    id: str
    href: str
    checkpoints: str
    rows: str
    size: str
    namespaces: str
    ago: str
    exact: str


@dataclass(frozen=True, slots=True)
class FindScreen:
    """What the page shows: threads that were found, and what was asked for and is not there."""

    searched: bool
    words: tuple[str, ...]
    refusal: str
    lines: tuple[FoundLine, ...] = ()
    threads: int = 0
    counted: str = ""
    all: str = ""
    totals: str = ""
    beyond: int = 0
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    unnamed: int = 0


async def find(request: HttpRequest, store: str) -> HttpResponse:
    """Show what a form asks for. A POST changes nothing: it leads to an address, if that is not too long."""
    location = located(store)
    if request.method == "POST" and 0 < len(query := _query(request.POST)) < LONGEST:
        return writing.done(f"{addresses.find(store)}?{query}")
    form = FindForm(request.POST or request.GET or None)
    shown = FindScreen(searched=False, words=(), refusal=await read(who(request), location, writing.refusal))
    if form.is_bound and form.is_valid():
        try:
            asked = wanted(who(request), form.cleaned_data)
            if asked:
                shown = _screen(store, asked, await select(location, asked.criteria), shown.refusal)
            else:
                form.add_error(None, "Fill in one of these, or tick every thread of the store.")
        except SelectionRefused as error:
            form.add_error(None, str(error))
    context = {"find": shown, "form": form, "store": store}
    response = screen(request, "find/page.html", "find/_find.html", context)
    response.status_code = 422 if form.errors else 200
    return response


def _query(fields: QueryDict) -> str:
    given = {name: fields[name] for name in FindForm.base_fields if fields.get(name)}
    return urlencode(given)


async def plan(request: HttpRequest, store: str) -> HttpResponse:
    """Keep a plan to delete what a form has found, and lead to it."""
    location = located(store)
    writing.require_not_read_only()
    form = PlanForm(request.POST)
    if not form.is_valid():
        raise SelectionRefused("This form cannot be understood.", advice="Go back and correct it.")
    query = ""
    if form.cleaned_data["which"] == "some":
        chosen = tuple(map(plain, request.POST.getlist("thread")))
        words = (f"{count(len(chosen), 'thread')} {CHOSEN}",)
        asked: Wanted | None = Wanted(Criteria(thread_ids=chosen), words) if chosen else None
    else:
        asked = wanted(who(request), form.cleaned_data)
        query = short if len(short := _query(request.POST)) < LONGEST else ""
    if asked is None:
        raise SelectionRefused("No thread is ticked.", advice="Go back and tick some, or plan to delete all.")
    found = await select(location, asked.criteria)
    kept = await in_database(
        plans.keep,
        location,
        found.threads,
        asked.words,
        who(request),
        seconds=found.seconds,
        query=query,
    )
    return writing.done(addresses.deletion(kept.id))


def _screen(store: str, asked: Wanted, found: Selection, refusal: str) -> FindScreen:
    now = datetime.now(UTC)
    threads = found.threads
    held = sum(thread.bytes for thread in threads)
    return FindScreen(
        searched=True,
        words=asked.words,
        refusal=refusal,
        lines=tuple(_line(store, thread, now) for thread in threads[:SHOWN]),
        threads=len(threads),
        counted=count(len(threads), "thread"),
        all=f"{len(threads):,}",
        totals=f"{count(sum(thread.rows for thread in threads), 'row')}, {size(held)}",
        beyond=max(0, len(threads) - SHOWN),
        missing=found.missing[:MISSING],
        missing_count=len(found.missing),
        unnamed=len(found.unnamed),
    )


def _line(store: str, thread: Held, now: datetime) -> FoundLine:
    return FoundLine(
        key=tilde.encode(thread.thread_id),
        id=thread.thread_id or "(empty id)",
        href=addresses.timeline(store, thread.thread_id),
        checkpoints=f"{thread.checkpoints:,}",
        rows=f"{thread.rows:,}",
        size=size(thread.bytes),
        namespaces="" if thread.namespaces <= 1 else count(thread.namespaces, "namespace"),
        ago=ago(thread.activity, now) if thread.activity else "",
        exact=exact(thread.activity),
    )
