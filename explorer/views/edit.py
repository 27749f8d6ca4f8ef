"""Editing a checkpoint: some of its values as typed JSON, looked over, and stored as a fork."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoints import outlook
from checkpoints.errors import ForkRefused
from checkpoints.forking import afork
from checkpoints.snapshot import Snapshot
from checkpoints.steps import DELTA_COUNTERS, steps
from checkpoints.stores import read
from checkpoints.stores.records import Size
from explorer import addresses, tilde, writing
from explorer.bounds import CHANNELS, first
from explorer.changes import is_own
from explorer.editing import MOST, Asked, Edited, Field, Held, edited, field, items_of
from explorer.forks import Prospect, Written, busy, prospect, written
from explorer.forms import EditForm, EditParameters, plain
from explorer.offload import offload
from explorer.pages import one
from explorer.rendering import screen
from explorer.stores import located
from explorer.summary import title
from explorer.values import stored_type
from explorer.wording import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest, HttpResponse, QueryDict

    from checkpoints.inert import InertSerializer
    from checkpoints.stores import Location, Store
    from checkpoints.stores.records import TimelinePage


@dataclass(frozen=True, slots=True)
class Choice:
    """A channel that can be chosen to be edited."""

    name: str
    key: str
    type: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class EditScreen:
    """What the page of an edit shows; `edited` is what was typed, when nothing is wrong with it."""

    id: str
    ns: str
    step: str
    title: str
    back_href: str
    refusal: str
    problem: str
    busy: str
    basis: str
    choices: tuple[Choice, ...]
    more_choices: int
    fields: tuple[Field, ...]
    edited: Edited | None
    here: Written
    here_next: Prospect


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint's rows, what its DeltaChannels are made of, and what is known of the store."""

    page: TimelinePage
    serde: InertSerializer
    histories: Mapping[str, Mapping[str, Any]]
    refusal: str
    head: str


async def edit(request: HttpRequest, store: str, thread: str, checkpoint_id: str) -> HttpResponse:
    ns = EditParameters.read(request.GET)["ns"] or ""
    location, form = located(store), EditForm(request.POST or None)
    asked = _asked(request.GET, request.POST)
    loaded = await read(location, lambda opened: _load(opened, thread, ns, checkpoint_id, asked))
    weight = loaded.page.checkpoints[0].size + 10 * sum(len(each.text or "") for each in asked)
    shown = await offload(weight, _screen, store, thread, ns, loaded, asked)
    action = form.cleaned_data.get("action") if form.is_valid() else ""
    if action == "fork" and shown.edited and shown.edited.changes:
        writing.require(shown.refusal, shown.basis, form.cleaned_data["basis"], shown.back_href)
        return writing.done(await _forked(form, location, store, thread, ns, loaded, shown.edited))
    review = shown.edited if action in ("review", "fork") else None
    context = {"edit": shown, "form": form, "edited": review, "store": store, "thread": thread}
    response = screen(request, "edit/page.html", "edit/_edit.html", context)
    wrong = form.errors or (action in ("review", "fork") and not shown.edited and not shown.refusal)
    response.status_code = 422 if form.is_bound and wrong else 200
    return response


def _asked(query: QueryDict, posted: QueryDict) -> list[Asked]:
    """Return what is to be edited: what the address names, or what a form has sent. Raises ForkRefused."""
    if posted:
        names = [plain(key) for key in posted.getlist("name")]
        lines = [text.replace("\r\n", "\n") for text in posted.getlist("text")]  # as browsers send them
        texts = zip(names, posted.getlist("path"), lines, strict=False)
        found = [Asked(*each) for each in texts]
        if posted.get("action") == "choose":
            chosen = [plain(key) for key in posted.getlist("channel")]
            named = {each.name for each in found}
            found = [each for each in found if each.name in chosen]
            found += [Asked(name) for name in chosen if name not in named]
    else:
        names = [plain(key) for key in query.getlist("channel")]
        path = (EditParameters.read(query)["path"] or "") if len(names) == 1 else ""
        found = [Asked(name, path) for name in names]
    found = list({(each.name, each.path): each for each in found}.values())
    if len(found) > MOST:
        raise ForkRefused(f"At most {MOST} channels can be edited at once.", advice="Choose fewer of them.")
    return found


async def _forked(
    form: EditForm, location: Location, store: str, thread: str, ns: str, loaded: Loaded, new: Edited
) -> str:
    """Write the fork and return its address."""
    asked, id = form.cleaned_data, loaded.page.checkpoints[0].checkpoint_id
    made = await afork(
        location, thread, id, ns, values=new.values, reason=asked["reason"], author=asked["author"]
    )
    return addresses.checkpoint(store, thread, made.checkpoint_id, ns=ns, done="edit", former=loaded.head)


async def _load(opened: Store, thread: str, ns: str, id: str, asked: Sequence[Asked]) -> Loaded:
    page = await one(opened, thread, ns, id)
    counted = Snapshot(page.checkpoints[0], opened.serde).metadata.get(DELTA_COUNTERS)
    deltas = [each.name for each in asked if isinstance(counted, dict) and each.name in counted]
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id}}
    histories = await opened.saver.aget_delta_channel_history(config=config, channels=deltas)
    return Loaded(
        page, opened.serde, histories, await writing.refusal(opened), await opened.head(thread, ns) or id
    )


def _screen(store: str, thread: str, ns: str, loaded: Loaded, asked: Sequence[Asked]) -> EditScreen:
    [step] = steps(loaded.page, loaded.serde)
    at = step.at
    own = {name: value for name, value in at.values.items() if not is_own(name, step)}
    items = {name: items_of(loaded.histories.get(name, {})) for name in step.deltas}
    held = Held(
        values=own,
        deltas={name: found for name, (found, _) in items.items()},
        reasons={name: reason for name, (_, reason) in items.items()},
    )
    fields = tuple(field(held, each) for each in asked)
    new = edited(held, fields)
    known, beyond = first([*own, *step.deltas], CHANNELS)
    chosen = {each.name for each in asked}
    return EditScreen(
        id=at.id,
        ns=ns,
        step=number(at.step),
        title=title(step),
        back_href=addresses.checkpoint(store, thread, at.id, ns=ns),
        refusal=loaded.refusal,
        problem=at.problem or "",
        busy=busy(loaded.head),
        basis=writing.basis_of(at.row),
        choices=tuple(
            Choice(
                name,
                tilde.encode(name),
                stored_type(own[name]) if name in own else "DeltaChannel",
                name in chosen,
            )
            for name in known
        ),
        more_choices=beyond,
        fields=fields,
        edited=new,
        here=written({"checkpoints": Size(1, writing.bytes_in_place(at.row))}, (ns,)),
        here_next=prospect(outlook.in_place(step, new.values if new else ())),
    )
