"""Editing a checkpoint: some of its values as typed JSON, looked over, and stored as a fork."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from checkpoints import outlook
from checkpoints.deltas import delta_items
from checkpoints.difference import differ
from checkpoints.errors import NotFound
from checkpoints.forking import afork
from checkpoints.inert import DeltaSnapshot, Extension
from checkpoints.outline import at_path, with_part
from checkpoints.steps import steps
from checkpoints.stores import read
from checkpoints.stores.records import Size
from checkpoints.typedjson import NotTypedJson, editable, parse
from explorer import addresses, writing
from explorer.bounds import CHANNELS, first
from explorer.changes import Change, between, is_own
from explorer.forks import Prospect, Written, prospect, written
from explorer.forms import EditForm, EditParameters, as_path
from explorer.offload import offload
from explorer.rendering import screen
from explorer.stores import located
from explorer.summary import title
from explorer.values import stored_type
from explorer.views.checkpoint import one
from explorer.views.fork import busy
from explorer.wording import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest, HttpResponse

    from checkpoints.outline import Path
    from checkpoints.steps import Step
    from checkpoints.stores import Location, Store

LINES_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Choice:
    """A channel that can be chosen to be edited."""

    name: str
    type: str
    chosen: bool
    href: str


@dataclass(frozen=True, slots=True)
class Field:
    """The text of one channel: what is stored, or what was typed, and what is wrong with that."""

    name: str
    type: str
    text: str
    lines: int
    delta: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Edited:
    """What was typed: the new values by channel, and how they differ from the old ones."""

    values: Mapping[str, Any]
    changes: tuple[Change, ...]
    unchanged: str


@dataclass(frozen=True, slots=True)
class EditScreen:
    """What the page of an edit shows."""

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
    fields: tuple[Field, ...]
    part: str
    whole_href: str
    here: Written
    here_next: Prospect


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint with the values that can be edited: those it holds, and those of DeltaChannels."""

    step: Step
    values: Mapping[str, Any]
    deltas: Mapping[str, list[Any]]
    path: Path
    refusal: str
    head: str

    def stored(self, name: str) -> Any:
        """Return the whole value of a channel."""
        return self.values[name] if name in self.values else self.deltas.get(name, [])

    def part(self, name: str) -> Any:
        """Return what is edited of a channel: all of it, or one part."""
        try:
            return at_path(self.stored(name), self.path)
        except LookupError:
            raise NotFound("There is no such part in this value.", advice="Edit the whole value.") from None


async def edit(request: HttpRequest, store: str, thread: str, checkpoint_id: str) -> HttpResponse:
    asked = EditParameters.read(request.GET)
    ns, path = asked["ns"] or "", as_path(asked["path"])
    location, form = located(store), EditForm(request.POST or None)
    names = request.POST.getlist("channel") or request.GET.getlist("channel")
    loaded = await read(location, lambda opened: _load(opened, thread, ns, checkpoint_id, names, path))
    texts = request.POST.getlist("text")
    shown = await offload(loaded.step.at.row.size, _screen, store, thread, ns, loaded, names, texts)
    edited = _edited(loaded, shown.fields) if form.is_bound and form.is_valid() else None
    if edited and form.cleaned_data["action"] == "fork" and edited.changes:
        writing.require(shown.refusal, shown.basis, form.cleaned_data["basis"])
        return writing.done(await _forked(form, location, store, thread, ns, checkpoint_id, edited))
    reviewed = edited if form.is_bound and form.cleaned_data.get("action") != "edit" else None
    context = {"edit": _with_outlook(shown, loaded, edited), "form": form, "edited": reviewed}
    response = screen(
        request, "edit/page.html", "edit/_edit.html", {**context, "store": store, "thread": thread}
    )
    response.status_code = 422 if _has_problem(shown) and form.is_bound else 200
    return response


async def _forked(
    form: EditForm, location: Location, store: str, thread: str, ns: str, id: str, edited: Edited
) -> str:
    """Write the fork and return its address."""
    asked = form.cleaned_data
    made = await afork(
        location, thread, id, ns, values=edited.values, reason=asked["reason"], author=asked["author"]
    )
    return addresses.checkpoint(store, thread, made.checkpoint_id, ns=ns, done="edit")


async def _load(opened: Store, thread: str, ns: str, id: str, names: Sequence[str], path: Path) -> Loaded:
    [step] = steps(await one(opened, thread, ns, id), opened.serde)
    head = await opened.head(thread, ns) or id
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id}}
    deltas = {name: await delta_items(opened.saver, config, name) for name in step.deltas if name in names}
    held = {name: value for name, value in step.at.values.items() if not is_own(name, step)}
    part = path if len(names) == 1 else ()
    return Loaded(step, held, deltas, part, await writing.refusal(opened), head)


def _screen(
    store: str, thread: str, ns: str, loaded: Loaded, names: Sequence[str], texts: Sequence[str]
) -> EditScreen:
    at = loaded.step.at
    known = {**loaded.values, **dict.fromkeys(loaded.step.deltas)}
    if unknown := [name for name in names if name not in known]:
        raise NotFound(
            f"There is no channel {unknown[0]!r} to edit in this checkpoint.",
            advice="Go back to the checkpoint and choose one from there.",
        )
    typed = dict(zip(names, texts, strict=False))
    return EditScreen(
        id=at.id,
        ns=ns,
        step=number(at.step),
        title=title(loaded.step),
        back_href=addresses.checkpoint(store, thread, at.id, ns=ns),
        refusal=loaded.refusal,
        problem=at.problem or "",
        busy=busy(loaded.head),
        basis=writing.basis_of(at.row),
        choices=tuple(_choice(store, thread, ns, loaded, name, names) for name in first(known, CHANNELS)[0]),
        fields=tuple(_field(loaded, name, typed.get(name)) for name in dict.fromkeys(names)),
        part=".".join(map(str, loaded.path)),
        whole_href=addresses.edit(store, thread, at.id, ns=ns, channel=names[0] if names else ""),
        here=written({"checkpoints": Size(1, writing.bytes_in_place(at.row))}, (ns,)),
        here_next=prospect(outlook.in_place(loaded.step)),
    )


def _choice(store: str, thread: str, ns: str, loaded: Loaded, name: str, chosen: Sequence[str]) -> Choice:
    delta = name not in loaded.values
    return Choice(
        name=name,
        type="DeltaChannel" if delta else stored_type(loaded.values[name]),
        chosen=name in chosen,
        href=addresses.edit(store, thread, loaded.step.at.id, ns=ns, channel=name),
    )


def _field(loaded: Loaded, name: str, typed: str | None) -> Field:
    """Return a channel's field with what was typed, else with what is stored."""
    value, delta = loaded.part(name), name in loaded.deltas
    try:
        stored = editable(value)
    except NotTypedJson as error:
        return Field(name, stored_type(value), "", 1, delta, f"It cannot be edited. {error.reason}")
    text = stored if typed is None else typed
    field = Field(name, stored_type(value), text, min(max(text.count("\n") + 2, 3), LINES_SHOWN), delta)
    try:
        new = parse(text)
    except NotTypedJson as error:
        return replace(field, problem=_sentence(error))
    if _is_snapshot(value) and not _is_snapshot(new):
        return replace(
            field, problem='It is a DeltaChannel: keep its {"$type": "DeltaSnapshot", "value": …}.'
        )
    return field


def _is_snapshot(value: Any) -> bool:
    return isinstance(value, Extension) and isinstance(value.open(), DeltaSnapshot)


def _sentence(error: NotTypedJson) -> str:
    return f"{error.place}: {error.reason}" if error.place else error.reason


def _has_problem(shown: EditScreen) -> bool:
    return any(field.problem for field in shown.fields)


def _edited(loaded: Loaded, fields: Sequence[Field]) -> Edited | None:
    """Return what was typed, None while something is wrong with it."""
    if not fields or any(field.problem for field in fields):
        return None
    before = {field.name: loaded.stored(field.name) for field in fields}
    typed = {field.name: parse(field.text) for field in fields}
    after = {name: with_part(before[name], loaded.path, part) for name, part in typed.items()}
    changed = [name for name in after if differ(before[name], after[name])]
    return Edited(
        values={name: after[name] for name in changed},
        changes=tuple(between(before, after, changed)),
        unchanged=", ".join(name for name in after if name not in changed),
    )


def _with_outlook(shown: EditScreen, loaded: Loaded, edited: Edited | None) -> EditScreen:
    """Say what follows the edit: a new value may wake nodes that react to its channel."""
    if not edited:
        return shown
    return replace(shown, here_next=prospect(outlook.in_place(loaded.step, edited.values)))
