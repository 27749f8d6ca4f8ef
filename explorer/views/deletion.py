"""One deletion: its plan, how far it is, its receipt; and what can be done about it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from django.http import HttpResponse, JsonResponse

from checkpoints.selection import Criteria, select
from explorer import addresses, stores, writing
from explorer.audit import audited
from explorer.database.threads import in_database
from explorer.deletions import backups, life, plans, watch
from explorer.deletions.errors import NotAsPlanned, NothingToDelete
from explorer.deletions.question import expected, question
from explorer.deletions.runner import runner
from explorer.deletions.screen import DeletionScreen, deletion_screen
from explorer.deletions.screen import progress as progress_of
from explorer.finding import Wanted, of_query, shown_to
from explorer.forms import DeletionForm, DeletionParameters
from explorer.models import Deletion, Stage
from explorer.people.roles import EXPORT, require, who
from explorer.reading import read
from explorer.receipt import receipt as receipt_of
from explorer.rendering import screen
from explorer.sending import attachment

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, StreamingHttpResponse
    from django.http.response import HttpResponseBase

    from checkpoints.stores import Location
    from explorer.people.roles import Person

KEPT_ELSEWHERE: Final = "The server that has made it keeps it for a week."


async def deletion(request: HttpRequest, deletion: UUID) -> HttpResponseBase:
    if request.method == "POST":
        return await _acted(request, deletion)
    return await _page(request, deletion)


async def progress(request: HttpRequest, deletion: UUID) -> HttpResponse:
    """Return how far it is; when it has ended, htmx is told to load the page anew."""
    found = await in_database(life.found, deletion)
    context = {"progress": progress_of(found), "deletion": {"stage": found.stage}}
    response = screen(request, "deletion/_progress.html", "deletion/_progress.html", context)
    if found.stage not in life.UNDER_WAY:
        response.headers["HX-Refresh"] = "true"
    return response


async def receipt(request: HttpRequest, deletion: UUID) -> HttpResponse:
    def told() -> dict[str, object]:
        found = receipt_of(life.found(deletion))
        return {**found, "found_by": shown_to(who(request), found["found_by"])}

    response = JsonResponse(await in_database(told), json_dumps_params={"indent": 2, "ensure_ascii": False})
    response.headers["Content-Disposition"] = f'attachment; filename="receipt-{deletion}.json"'
    return response


async def _page(
    request: HttpRequest,
    id: UUID,
    form: DeletionForm | None = None,
    status: int = 200,
    changes: plans.Changes | None = None,
) -> HttpResponse:
    asked = DeletionParameters.read(request.GET)
    found, shown = await in_database(_screen, id, asked["after"] or 0)
    asked_for = await question(who(request), found, changes) if found.stage == Stage.PLANNED else None
    context = {
        "deletion": _for(who(request), shown),
        "question": asked_for,
        "form": form or DeletionForm(),
        "store": shown.store or None,
    }
    response = screen(request, "deletion/page.html", "deletion/_deletion.html", context)
    response.status_code = status
    return response


async def _acted(request: HttpRequest, id: UUID) -> HttpResponseBase:
    """Do what the form asks for. All that changes something but plans is in the audit."""
    writing.require_not_read_only()
    form = DeletionForm(request.POST)
    found = await in_database(life.found, id)
    if not form.is_valid():
        return await _page(request, id, form, 422)
    person = who(request)
    match form.cleaned_data["action"]:
        case "confirm":
            return await _confirmed(request, found, form)
        case "stop":
            async with audited(person, "stop", store=found.store, details={"deletion": str(id)}):
                await in_database(life.stop, id, person.name)
        case "erase":
            insist = form.cleaned_data["insist"]
            async with audited(
                person, "erase", store=found.store, details={"deletion": str(id), "insist": insist}
            ):
                await in_database(life.ask_to_erase, id, insist=insist)
        case "discard":
            async with audited(person, "discard", store=found.store, details={"deletion": str(id)}):
                await in_database(life.discard, id)
            return writing.done(addresses.deletions())
        case "again":
            return writing.done(addresses.deletion((await _planned_again(person, found)).id))
        case "backup":
            return await _backup(person, found)
        case "drop-backup":
            async with audited(person, "drop-backup", store=found.store, details={"backup_of": str(id)}):
                await in_database(_drop_backup, found)
    runner.wake()
    return writing.done(addresses.deletion(id))


async def _confirmed(request: HttpRequest, plan: Deletion, form: DeletionForm) -> HttpResponse:
    person = who(request)
    typed, label = await in_database(expected, plan)
    if plan.stage != Stage.PLANNED:
        raise NotAsPlanned(life.CONFIRMED, advice=life.ITS_PAGE)
    given = form.cleaned_data["typed"].strip()
    if typed.strip() not in (given, given.replace(",", "") if plan.threads > 1 else given):
        form.add_error("typed", f"That is not {label}: type {typed}. Nothing was deleted.")
        return await _page(request, plan.id, form, 422)
    location = _location(plan)
    if refusal := await read(person, location, writing.refusal):
        raise NotAsPlanned(refusal)
    marks = await in_database(plans.marks, plan)
    if changes := await plans.changes(location, marks):
        return await _page(request, plan.id, form, 409, changes)
    if other := await in_database(plans.others_at_work, plan):
        raise NotAsPlanned(
            f"{other.confirmed_by or 'Somebody'} is deleting threads of this plan right now.",
            advice="Look at this page again when that has ended.",
        )
    backup = form.cleaned_data["backup"]
    if backup:
        require(person, EXPORT)
    await in_database(life.confirm, plan, person, form.cleaned_data["reason"], backup=backup)
    runner.wake()
    return writing.done(addresses.deletion(plan.id))


async def _planned_again(person: Person, found: Deletion) -> Deletion:
    """Plan anew what a plan was made for, or to delete what is still there of a deletion, or there again."""
    location, query = _location(found), found.query if found.stage == Stage.PLANNED else ""
    asked, words = of_query(person, query), tuple(found.found_by)
    if asked is None:
        ids = await in_database(_open, found)
        asked = Wanted(Criteria(thread_ids=ids), words) if ids else None
    if asked is None:
        raise NothingToDelete("No thread of this deletion is there.")
    there = await select(location, asked.criteria)
    return await in_database(
        plans.keep,
        location,
        there.threads,
        words,
        person,
        seconds=there.seconds,
        again_of=found,
        query=query,
    )


def _open(found: Deletion) -> tuple[str, ...]:
    return tuple(watch.open_ones(found).values_list("thread_id", flat=True))


async def _backup(person: Person, found: Deletion) -> StreamingHttpResponse:
    require(person, EXPORT)
    path = backups.path_of(found)
    if path is None:
        raise NothingToDelete(
            "There is no backup of this deletion here.", advice="It is kept for a week, by one server."
        )
    async with audited(person, "export", store=found.store, details={"backup_of": str(found.id)}):
        file = path.open("rb")  # the response closes it
    response = attachment(file, f"deleted-{found.id}.sqlite", "application/vnd.sqlite3")
    response.headers["Content-Length"] = path.stat().st_size
    return response


def _drop_backup(found: Deletion) -> None:
    if not backups.drop(found):
        raise NothingToDelete("This server has no backup of this deletion.", advice=KEPT_ELSEWHERE)
    Deletion.objects.filter(id=found.id).update(backup="", backup_until=None)


def _location(found: Deletion) -> Location:
    known = stores.by_key().get(found.store)
    if known is None:
        raise NotAsPlanned(
            f"{found.store_name} is not open here.", advice="Start the explorer with this store."
        )
    return known[1]


def _for(person: Person, shown: DeletionScreen) -> DeletionScreen:
    """Return what a person sees of it: not by which masked value it was found."""
    href = "" if person.masks else shown.find_href
    return replace(shown, found_by=shown_to(person, shown.found_by), find_href=href)


def _screen(id: UUID, after: int) -> tuple[Deletion, DeletionScreen]:
    found = life.found(id)
    return found, deletion_screen(found, after)
