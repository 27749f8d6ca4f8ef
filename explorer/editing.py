"""What is typed into an editor: the texts of channels or of parts of them, and what comes of these."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from checkpoints.difference import differ
from checkpoints.errors import ForkRefused, NotFound
from checkpoints.messages import message
from checkpoints.outline import at_path, with_part
from checkpoints.stores.siblings import is_snapshot
from checkpoints.typedjson import NotTypedJson, editable, parse
from checkpoints.validity import classes, strange_fields
from explorer import tilde
from explorer.bounds import CHANNELS, listed
from explorer.changes import Change, between
from explorer.forms import as_path
from explorer.values import stored_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from checkpoints.deltas import Given

MOST = 20  # editors on a page
LINES_SHOWN = 40
ONLY_THE_GRAPH = "Its value can only be told by the graph:"
NEAR = 40  # characters shown on each side of a mistake
KEEP_SNAPSHOT = 'It is a DeltaChannel: keep its {"$type": "DeltaSnapshot", "value": …}.'


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be edited: a channel, or the part of it at an address, with what was typed for it so far."""

    name: str
    path: str = ""
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What can be edited of a checkpoint: its own values, and those of DeltaChannels from the ancestors.

    `reasons` say of some of the latter why they cannot be edited.
    """

    values: Mapping[str, Any]
    deltas: Mapping[str, list[Any]]
    reasons: Mapping[str, str]

    def part(self, asked: Asked) -> Any:
        """Return what is edited. Raises NotFound."""
        if asked.name not in self.values and asked.name not in self.deltas:
            raise NotFound(
                f"There is no channel {asked.name!r} to edit in this checkpoint.",
                advice="Go back to the checkpoint and choose one from there.",
            )
        whole, path = self.whole(asked.name), as_path(asked.path)
        try:
            part = at_path(whole, path)
            with_part(whole, path, part)
        except LookupError:
            sentence = "There is no such part in this value that can be replaced."
            raise NotFound(sentence, advice="Edit the whole value.") from None
        return part

    def whole(self, name: str) -> Any:
        return self.values[name] if name in self.values else self.deltas[name]


@dataclass(frozen=True, slots=True)
class Field:
    """One editor. `problem` says what is wrong with its text, `near` shows where, `at` is its place.

    It is `typed` where its text is not what is stored, and `closed` where that cannot be edited.
    """

    name: str
    path: str
    type: str
    text: str
    delta: bool
    value: Any = None
    problem: str = ""
    near: str = ""
    at: int | None = None
    closed: bool = False
    typed: bool = False

    @property
    def key(self) -> str:
        """The name as a form sends it back unchanged: of a line break it would make another one."""
        return tilde.encode(self.name)

    @property
    def lines(self) -> int:
        return min(max(self.text.count("\n") + 2, 3), LINES_SHOWN)


@dataclass(frozen=True, slots=True)
class Edited:
    """What was typed: the new values by channel, how they differ from the old ones, and what to beware of."""

    values: Mapping[str, Any]
    changes: tuple[Change, ...]
    unchanged: str
    unchecked: str
    warnings: tuple[str, ...]


def field(held: Held, asked: Asked) -> Field:
    """Return the editor of what is asked for, with what was typed, else with what is stored."""
    value, delta = held.part(asked), asked.name not in held.values
    kind = stored_type(value)
    try:
        if reason := held.reasons.get(asked.name) if delta else "":
            raise NotTypedJson("", reason)
        stored = editable(value)
    except NotTypedJson as error:
        problem = f"It cannot be edited. {error.reason}"
        return Field(asked.name, asked.path, kind, "", delta, problem=problem, closed=True)
    text = stored if asked.text is None else asked.text
    if text == stored:
        return Field(asked.name, asked.path, kind, text, delta, value)
    try:
        new = parse(text)
        if is_snapshot(value) and not is_snapshot(new):
            raise NotTypedJson("", KEEP_SNAPSHOT)
    except NotTypedJson as error:
        near = "" if error.at is None else _near(text, error.at)
        told: dict[str, Any] = {"problem": str(error), "near": near, "at": error.at}
        return Field(asked.name, asked.path, kind, text, delta, typed=True, **told)
    return Field(asked.name, asked.path, kind, text, delta, new, typed=True)


def edited(held: Held, fields: Sequence[Field]) -> Edited | None:
    """Return what was typed, None while something is wrong with it."""
    if not fields or any(each.problem for each in fields):
        return None
    _require_apart(fields)
    before = {each.name: held.whole(each.name) for each in fields}
    after = dict(before)
    for each in fields:
        after[each.name] = with_part(after[each.name], as_path(each.path), each.value)
    changed = [name for name in after if differ(before[name], after[name])]
    return Edited(
        values={name: after[name] for name in changed},
        changes=tuple(between(before, after, changed)),
        unchanged=listed([name for name in after if name not in changed], CHANNELS),
        unchecked=", ".join(islice(_unchecked(after[name] for name in changed), MOST)),
        warnings=tuple(islice(_warnings(before, after, changed), MOST)),
    )


def _require_apart(fields: Sequence[Field]) -> None:
    """Raise ForkRefused for a part that is edited together with what it lies in."""
    places = sorted((each.name, as_path(each.path)) for each in fields)
    for (name, path), (other, below) in pairwise(places):
        if name == other and below[: len(path)] == path:
            sentence = f"In the channel {name!r} a part is edited together with what it lies in."
            raise ForkRefused(sentence, advice="Edit one of the two.")


def _unchecked(values: Iterable[Any]) -> Iterable[str]:
    return dict.fromkeys(name for value in values for name in classes(value))


def _warnings(before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str]) -> Iterable[str]:
    for name in names:
        yield from strange_fields(before[name], after[name])


def items_of(given: Given) -> tuple[list[Any], str]:
    """Return what a DeltaChannel's reducer was given, oldest first, and why that is not its value, if so."""
    if not given.whole:
        return [], f"{ONLY_THE_GRAPH} its ancestors are too many, or one of them is not in the store."
    if not all(isinstance(value, list) for value in given.values):
        return [], f"{ONLY_THE_GRAPH} its reducer was given something else than lists."
    items = [item for value in given.values for item in value]
    if "RemoveMessage" in {name.rpartition(".")[2] for name in classes(items)} or _repeats(items):
        return [], f"{ONLY_THE_GRAPH} its reducer was given messages that replace others."
    return items, ""


def _repeats(items: Iterable[Any]) -> bool:
    """Tell whether a message stands for another one with the same id."""
    ids = Counter(found.id for item in items if (found := message(item)) and found.id)
    return any(times > 1 for times in ids.values())


def _near(text: str, at: int) -> str:
    """Return the line of a mistake with a caret under it."""
    start = max(text.rfind("\n", 0, at) + 1, at - NEAR)
    end = text.find("\n", at)
    end = min(len(text) if end < 0 else end, at + NEAR)
    return f"{text[start:end]}\n{' ' * (at - start)}^"
