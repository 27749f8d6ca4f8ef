"""Forking a checkpoint: in place, so that the next invoke continues from here, or into a new thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints import outlook
from checkpoints.errors import ThreadExists
from checkpoints.forking import afork, afork_thread
from checkpoints.steps import steps
from checkpoints.stores.records import Size
from explorer import addresses, writing
from explorer.audit import audited
from explorer.forks import Prospect, Written, busy, prospect, written
from explorer.forms import ForkForm, ForkParameters
from explorer.offload import offload
from explorer.pages import one
from explorer.people.roles import who
from explorer.reading import read
from explorer.rendering import screen
from explorer.stores import located
from explorer.summary import title
from explorer.wording import number

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from checkpoints.inert import InertSerializer
    from checkpoints.steps import Step
    from checkpoints.stores import Location, Store
    from checkpoints.stores.forks import Belongings, Sizes
    from checkpoints.stores.records import CheckpointRow, TimelinePage

MEASURED = 5_000  # checkpoints of a thread that are followed and weighed unasked


@dataclass(frozen=True, slots=True)
class ForkScreen:
    """What the page of a fork shows.

    What a new thread gets (`there`) is None where it has not been measured.
    """

    id: str
    ns: str
    step: str
    title: str
    is_head: bool
    head_href: str
    back_href: str
    measure_href: str
    refusal: str
    problem: str
    busy: str
    basis: str
    here: Written
    here_next: Prospect
    there: Written | None
    there_next: Prospect
    suggestion: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint's rows, and what is known of its thread and of the store."""

    page: TimelinePage
    serde: InertSerializer
    refusal: str
    head: str
    measured: tuple[Belongings, Sizes] | None

    @property
    def row(self) -> CheckpointRow:
        return self.page.checkpoints[0]

    @property
    def address(self) -> tuple[str, str, str]:
        """Thread, namespace and id."""
        return self.row.thread_id, self.row.checkpoint_ns, self.row.checkpoint_id


async def fork(request: HttpRequest, store: str, thread: str, checkpoint_id: str) -> HttpResponse:
    asked = ForkParameters.read(request.GET)
    ns, location = asked["ns"] or "", located(store)
    form = ForkForm(request.POST or None)
    if form.is_bound and form.is_valid():
        loaded = await read(who(request), location, lambda opened: _load(opened, thread, ns, checkpoint_id))
        if href := await _forked(request, form, location, store, loaded):
            return writing.done(href)
    measure = bool(asked["measure"])
    loaded = await read(
        who(request),
        location,
        lambda opened: _load(opened, thread, ns, checkpoint_id, measure=measure, weigh=True),
    )
    shown = await offload(loaded.page.weight, _screen, store, loaded)
    context = {"fork": shown, "form": form, "store": store, "thread": thread}
    response = screen(request, "fork/page.html", "fork/_fork.html", context)
    response.status_code = 422 if form.is_bound else 200
    return response


async def _forked(
    request: HttpRequest, form: ForkForm, location: Location, store: str, loaded: Loaded
) -> str | None:
    """Write the fork that the form asks for, and return its address; None where the form has to change."""
    thread, ns, id = loaded.address
    note = form.note_of(who(request))
    told = {"checkpoint": id, "namespace": ns, "kind": form.cleaned_data["kind"], "reason": note["reason"]}
    try:
        async with audited(who(request), "fork", store=store, thread=thread, details=told) as entry:
            back = addresses.checkpoint(store, thread, id, ns=ns)
            writing.require(loaded.refusal, writing.basis_of(loaded.row), form.cleaned_data["basis"], back)
            if form.cleaned_data["kind"] == "thread":
                made = await afork_thread(location, thread, form.cleaned_data["target"], id, ns)
                entry.add(made=made.thread_id)
                return addresses.checkpoint(store, made.thread_id, id, ns=ns, done="thread", origin=thread)
            fork = await afork(location, thread, id, ns, seen=loaded.row.blob, **note)
            entry.add(made=fork.checkpoint_id)
    except ThreadExists as error:
        form.add_error("target", str(error))
        return None
    return addresses.checkpoint(
        store, thread, fork.checkpoint_id, ns=ns, done="in-place", former=fork.former or ""
    )


async def _load(
    opened: Store, thread: str, ns: str, id: str, *, measure: bool = False, weigh: bool = False
) -> Loaded:
    """Read a checkpoint. What a new thread gets is measured if asked for, or in short threads to `weigh`."""
    page = await one(opened, thread, ns, id)
    if weigh and not measure:
        held = await opened.namespaces(thread)
        measure = sum(row.checkpoints for row in held) <= MEASURED and not any(row.at_least for row in held)
    return Loaded(
        page=page,
        serde=opened.serde,
        refusal=await writing.refusal(opened),
        head=await opened.head(thread, ns) or id,
        measured=await opened.belongings(thread, ns, id) if measure else None,
    )


def _screen(store: str, loaded: Loaded) -> ForkScreen:
    [step] = steps(loaded.page, loaded.serde)
    row = loaded.row
    thread, ns, id = row.thread_id, row.checkpoint_ns, row.checkpoint_id
    there = None
    if loaded.measured:
        found, sizes = loaded.measured
        there = written(sizes, tuple(found.ids))
    return ForkScreen(
        id=id,
        ns=ns,
        step=number(step.at.step),
        title=title(step),
        is_head=loaded.head == id,
        head_href=addresses.checkpoint(store, thread, loaded.head, ns=ns),
        back_href=addresses.checkpoint(store, thread, id, ns=ns),
        measure_href=addresses.fork(store, thread, id, ns=ns, measure=True),
        refusal=loaded.refusal,
        problem=step.at.problem or "",
        busy=busy(loaded.head),
        basis=writing.basis_of(row),
        here=written({"checkpoints": Size(1, writing.bytes_in_place(row))}, (ns,)),
        here_next=prospect(outlook.in_place(step)),
        there=there,
        there_next=prospect(outlook.in_new_thread(step)),
        suggestion=_suggestion(thread, step),
    )


def _suggestion(thread: str, step: Step) -> str:
    return f"{thread}-from-step-{step.at.step}" if step.at.step is not None else f"{thread}-fork"
