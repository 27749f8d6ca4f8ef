"""Forking a checkpoint: in place, so that the next invoke continues from here, or into a new thread."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from checkpoints import outlook
from checkpoints.errors import ThreadExists
from checkpoints.forking import afork, afork_thread
from checkpoints.snapshot import id_time
from checkpoints.steps import steps
from checkpoints.stores import read
from checkpoints.stores.records import Size
from explorer import addresses, writing
from explorer.forks import Prospect, Written, prospect, written
from explorer.forms import ForkForm, TimelineParameters
from explorer.rendering import screen
from explorer.stores import located
from explorer.summary import title
from explorer.views.checkpoint import one
from explorer.wording import ago, number

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from checkpoints.steps import Step
    from checkpoints.stores import Location, Store

BUSY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class ForkScreen:
    """What the page of a fork shows. `head` is the id of the namespace's head now."""

    id: str
    ns: str
    step: str
    title: str
    is_head: bool
    head: str
    head_href: str
    back_href: str
    refusal: str
    problem: str
    busy: str
    basis: str
    here: Written
    here_next: Prospect
    there: Written
    there_next: Prospect
    suggestion: str


async def fork(request: HttpRequest, store: str, thread: str, checkpoint_id: str) -> HttpResponse:
    ns = TimelineParameters.read(request.GET)["ns"] or ""
    location = located(store)
    shown = await read(location, lambda opened: _load(opened, store, thread, ns, checkpoint_id))
    form = ForkForm(request.POST or None, initial={"target": shown.suggestion})
    if request.method == "POST" and form.is_valid():
        writing.require(shown.refusal, shown.basis, form.cleaned_data["basis"])
        if href := await _forked(form, location, store, thread, ns, checkpoint_id):
            return writing.done(href)
    context = {"fork": shown, "form": form, "store": store, "thread": thread}
    response = screen(request, "fork/page.html", "fork/_fork.html", context)
    response.status_code = 422 if form.is_bound else 200
    return response


async def _forked(
    form: ForkForm, location: Location, store: str, thread: str, ns: str, id: str
) -> str | None:
    """Write the fork that the form asks for, and return its address; None where the form has to change."""
    asked = form.cleaned_data
    if asked["kind"] == "in-place":
        made = await afork(location, thread, id, ns, reason=asked["reason"], author=asked["author"])
        return addresses.checkpoint(store, thread, made.checkpoint_id, ns=ns, done="in-place")
    try:
        made = await afork_thread(location, thread, asked["target"], id, ns)
    except ThreadExists as error:
        form.add_error("target", str(error))
        return None
    return addresses.checkpoint(store, made.thread_id, id, ns=ns, done="thread")


async def _load(opened: Store, store: str, thread: str, ns: str, id: str) -> ForkScreen:
    head = await opened.head(thread, ns) or id
    [step] = steps(await one(opened, thread, ns, id), opened.serde)
    found, sizes = await opened.belongings(thread, ns, id)
    row = step.at.row
    return ForkScreen(
        id=id,
        ns=ns,
        step=number(step.at.step),
        title=title(step),
        is_head=head == id,
        head=head,
        head_href=addresses.checkpoint(store, thread, head, ns=ns),
        back_href=addresses.checkpoint(store, thread, id, ns=ns),
        refusal=await writing.refusal(opened),
        problem=step.at.problem or "",
        busy=busy(head),
        basis=writing.basis_of(row),
        here=written({"checkpoints": Size(1, writing.bytes_in_place(row))}, (ns,)),
        here_next=prospect(outlook.in_place(step)),
        there=written(sizes, tuple(found.ids)),
        there_next=prospect(outlook.in_new_thread(step)),
        suggestion=_suggestion(thread, step),
    )


def busy(head: str) -> str:
    """Say when the thread's head was stored, where an agent may be at work on it; else nothing."""
    now, at = datetime.now(UTC), id_time(head)
    if at is None or (now - at).total_seconds() > BUSY_SECONDS:
        return ""
    return ago(at, now)


def _suggestion(thread: str, step: Step) -> str:
    return f"{thread}-from-step-{step.at.step}" if step.at.step is not None else f"{thread}-fork"
