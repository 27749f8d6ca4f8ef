"""Editing a checkpoint: some of its values as typed JSON, looked over, and stored as a fork."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from checkpoints import outlook
from checkpoints.deltas import delta_values
from checkpoints.errors import ForkRefused, StoreError
from checkpoints.forking import afork
from checkpoints.masking import NO_MASKS
from checkpoints.snapshot import Snapshot
from checkpoints.steps import DELTA_COUNTERS, steps
from checkpoints.stores.records import Size
from explorer import addresses, tilde, writing
from explorer.audit import audited
from explorer.bounds import CHANNELS, first
from explorer.changes import is_own
from explorer.editing import MOST, Asked, Edited, Field, Held, edited, field, items_of
from explorer.errors import status_of
from explorer.forks import Prospect, Written, busy, prospect, written
from explorer.forms import PLACE, EditForm, EditParameters, plain
from explorer.offload import LARGE, offload
from explorer.pages import one
from explorer.people.roles import NotAllowed, who
from explorer.reading import read
from explorer.rendering import screen
from explorer.stores import located
from explorer.summary import title
from explorer.values import stored_type
from explorer.wording import number

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from django.http import HttpRequest, HttpResponse, QueryDict

    from checkpoints.deltas import Given
    from checkpoints.inert import InertSerializer
    from checkpoints.stores import Location, Store
    from checkpoints.stores.records import TimelinePage
    from explorer.people.roles import Person


@dataclass(frozen=True, slots=True)
class Choice:
    """A channel that can be chosen to be edited."""

    name: str
    key: str
    type: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class EditScreen:
    """What the page of an edit shows; `edited` is what was typed, when nothing is wrong with it.

    `problem` is why the checkpoint cannot be edited, `error` why what was sent was not done.
    """

    store: str
    id: str
    ns: str
    step: str
    title: str
    back_href: str
    refusal: str
    problem: str
    error: str
    busy: str
    basis: str
    choices: tuple[Choice, ...]
    more_choices: int
    fields: tuple[Field, ...]
    edited: Edited | None
    here: Written
    here_next: Prospect

    @property
    def typed(self) -> bool:
        """Whether something was typed that is nowhere else than on the page."""
        return any(field.typed for field in self.fields)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint's rows, what its DeltaChannels are made of, and what is known of the store."""

    page: TimelinePage
    serde: InertSerializer
    given: Mapping[str, Given]
    refusal: str
    head: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What is to be edited, with what was typed so far, and what could not be taken over."""

    asked: tuple[Asked, ...]
    problem: str = ""


async def edit(request: HttpRequest, store: str, thread: str, checkpoint_id: str) -> HttpResponse:
    ns = EditParameters.read(request.GET)["ns"] or ""
    location, form = located(store), EditForm(request.POST or None)
    sent = _posted(request.POST) if request.POST else _named(request.GET)
    person = who(request)
    _require_unmasked(person, sent)
    loaded = await read(person, location, lambda opened: _load(opened, thread, ns, checkpoint_id, sent.asked))
    weight = loaded.page.weight + 10 * sum(len(each.text or "") for each in sent.asked)
    shown = await offload(LARGE if loaded.given else weight, _screen, store, loaded, sent)
    action = form.cleaned_data.get("action") if form.is_valid() else ""
    status = 422 if sent.problem or (form.is_bound and form.errors) else 200
    if action == "fork" and shown.edited and shown.edited.changes:
        try:
            return writing.done(await _forked(request, form, location, loaded, shown))
        except StoreError as error:  # what was typed stays on the page
            shown, status = replace(shown, error=str(error)), status_of(error)
    elif action in ("review", "fork") and not shown.edited and not shown.refusal:
        status = 422
    review = shown.edited if action in ("review", "fork") else None
    context = {"edit": shown, "form": form, "edited": review, "store": store, "thread": thread}
    response = screen(request, "edit/page.html", "edit/_edit.html", context)
    response.status_code = status
    return response


def _require_unmasked(person: Person, sent: Sent) -> None:
    """Refuse to edit what this person does not see."""
    for each in sent.asked:
        if person.masks.hides(each.name):
            raise NotAllowed(f"{each.name} is masked for you, so you cannot edit it.")


def _named(query: QueryDict) -> Sent:
    """Return what an address asks to be edited: channels, or a part of one."""
    names = dict.fromkeys(plain(key) for key in query.getlist("channel"))
    path = (EditParameters.read(query)["path"] or "") if len(names) == 1 else ""
    return _limited([Asked(name, path) for name in names])


def _posted(posted: QueryDict) -> Sent:
    """Return what a form has sent to be edited. Raises ForkRefused for what no form of ours sends."""
    names, paths = [plain(key) for key in posted.getlist("name")], posted.getlist("path")
    texts = [text.replace("\r\n", "\n") for text in posted.getlist("text")]  # as browsers send lines
    if not len(names) == len(paths) == len(texts) or not all(PLACE.fullmatch(path) for path in paths):
        raise ForkRefused("The form has lost some of its fields.", advice="Open the editor anew.")
    found = [Asked(*each) for each in zip(names, paths, texts, strict=True)]
    if posted.get("action") == "choose":
        chosen = dict.fromkeys(plain(key) for key in posted.getlist("channel"))
        known = {each.name for each in found}
        found = [each for each in found if each.name in chosen]
        found += [Asked(name) for name in chosen if name not in known]
    return _limited(found)


def _limited(found: Sequence[Asked]) -> Sent:
    if len(found) <= MOST:
        return Sent(tuple(found))
    return Sent(tuple(found[:MOST]), f"At most {MOST} channels can be edited at once: these are the first.")


async def _forked(
    request: HttpRequest, form: EditForm, location: Location, loaded: Loaded, shown: EditScreen
) -> str:
    """Write the fork and return its address."""
    row, values = loaded.page.checkpoints[0], shown.edited.values if shown.edited else {}
    thread, ns, id = row.thread_id, row.checkpoint_ns, row.checkpoint_id
    note, person = form.note_of(who(request)), who(request)
    told = {"checkpoint": id, "namespace": ns, "channels": list(values), "reason": note["reason"]}
    async with audited(person, "edit", store=shown.store, thread=thread, details=told) as entry:
        writing.require(shown.refusal, shown.basis, form.cleaned_data["basis"], shown.back_href)
        made = await afork(location, thread, id, ns, values=values, seen=row.blob, **note)
        entry.add(made=made.checkpoint_id)
    return addresses.checkpoint(
        shown.store, thread, made.checkpoint_id, ns=ns, done="edit", former=made.former or ""
    )


async def _load(opened: Store, thread: str, ns: str, id: str, asked: Sequence[Asked]) -> Loaded:
    page = await one(opened, thread, ns, id)
    counted = Snapshot(page.checkpoints[0], opened.serde).metadata.get(DELTA_COUNTERS)
    deltas = {each.name for each in asked if isinstance(counted, dict) and each.name in counted}
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id}}
    return Loaded(
        page=page,
        serde=opened.serde,
        given=await delta_values(opened.saver, config, deltas),
        refusal=await writing.refusal(opened),
        head=await opened.head(thread, ns) or id,
    )


def _screen(store: str, loaded: Loaded, sent: Sent) -> EditScreen:
    [step] = steps(loaded.page, loaded.serde)
    at, ns = step.at, step.at.row.checkpoint_ns
    masks = loaded.serde.masks or NO_MASKS
    own = {
        name: value for name, value in at.values.items() if not is_own(name, step) and not masks.hides(name)
    }
    items = {name: items_of(given) for name, given in loaded.given.items() if name in step.deltas}
    held = Held(
        values=own,
        deltas={name: found for name, (found, _) in items.items()},
        reasons={name: reason for name, (_, reason) in items.items()},
    )
    fields = tuple(field(held, each) for each in sent.asked)
    new = edited(held, fields)
    chosen = dict.fromkeys(each.name for each in sent.asked)
    known, beyond = first([*own, *(name for name in step.deltas if not masks.hides(name))], CHANNELS)
    return EditScreen(
        store=store,
        id=at.id,
        ns=ns,
        step=number(at.step),
        title=title(step),
        back_href=addresses.checkpoint(store, at.row.thread_id, at.id, ns=ns),
        refusal=loaded.refusal,
        problem=at.problem or "",
        error=sent.problem,
        busy=busy(loaded.head),
        basis=writing.basis_of(at.row, held.deltas),
        choices=tuple(_choice(name, own, chosen) for name in dict.fromkeys((*known, *chosen))),
        more_choices=beyond,
        fields=fields,
        edited=new,
        here=written({"checkpoints": Size(1, writing.bytes_in_place(at.row))}, (ns,)),
        here_next=prospect(outlook.in_place(step, new.values if new else ())),
    )


def _choice(name: str, own: Mapping[str, Any], chosen: Collection[str]) -> Choice:
    kind = stored_type(own[name]) if name in own else "DeltaChannel"
    return Choice(name, tilde.encode(name), kind, name in chosen)
