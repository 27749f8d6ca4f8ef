"""What requests ask for. A bad GET parameter falls back to the default; a bad field of a form is said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypedDict, get_args

from django import forms
from django.core.validators import ProhibitNullCharactersValidator as NoNull

from checkpoints.selection import STATES
from explorer import tilde
from explorer.asking import MOST_SECONDS, MOST_STEPS
from explorer.models import Outcome
from explorer.running.job import Kind

if TYPE_CHECKING:
    from django.http import QueryDict

    from checkpoints.outline import Path
    from explorer.people.roles import Person

DENSITIES = ("compact", "steps", "everything")
DEFAULT_DENSITY = "steps"
FORKS = ("in-place", "thread", "edit")
LONGEST_ID = 4_000  # characters in an address
PATH = r"^[0-9]{1,9}(\.[0-9]{1,9})*$"
PLACE = re.compile(f"({PATH})?")
PARTS = ("values", "writes", "metadata", "delta")


class Text(forms.CharField):
    """Arbitrary text, kept as it is: ids and namespaces may begin or end with spaces."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, strip=False, **kwargs)
        self.validators = [each for each in self.validators if not isinstance(each, NoNull)]


class Key(Text):
    """Text that a link or a hidden field sends in tilde-encoding; what is typed by hand may be plain."""

    def clean(self, value: Any) -> str:
        return plain(super().clean(value))


def plain(text: str) -> str:
    """Return a text that may be tilde-encoded as it is meant."""
    try:
        return tilde.decode(text)
    except ValueError:
        return text


class Parameters(forms.Form):
    """GET parameters of one screen; `values` are the valid ones, None for the others."""

    @classmethod
    def read(cls, query: QueryDict) -> dict[str, Any]:
        form = cls(query)
        form.is_valid()
        return {name: form.cleaned_data.get(name) for name in form.fields}


class ThreadsParameters(Parameters):
    q = Text()
    before = Text()


class TimelineParameters(Parameters):
    ns = Text()
    before = Text()
    branch = Text()
    density = forms.ChoiceField(required=False, choices=[(name, name) for name in DENSITIES])


class CheckpointParameters(TimelineParameters):
    """`done` is what has just made the checkpoint, `origin` the thread that it was forked from.

    `former` is the head that a fork in place has taken the place of.
    """

    done = forms.ChoiceField(required=False, choices=[(name, name) for name in FORKS])
    origin = Text()
    former = Text()


class ForkParameters(Parameters):
    ns = Text()
    measure = forms.BooleanField(required=False)


class CompareParameters(Parameters):
    """The second checkpoint is tilde-encoded like the first in links, and as it is where it was `typed`."""

    thread = Key()
    ns = Key()
    id = Key()
    with_thread = Text()
    with_ns = Text()
    with_id = Text()
    typed = forms.BooleanField(required=False)
    before = Text()


class EditParameters(Parameters):
    ns = Text()
    path = forms.RegexField(PATH, required=False)


class Note(TypedDict):
    """What a fork is told of itself."""

    reason: str
    author: str


class NotedForm(forms.Form):
    """Why and by whom a checkpoint is forked. `basis` says what was seen of it."""

    reason = Text(max_length=500)
    author = Text(max_length=100)
    basis = Text()

    def note_of(self, person: Person) -> Note:
        """Return what was typed. A user is the author; whoever runs this locally may name one."""
        author = person.signature or self.cleaned_data["author"]
        return {"reason": self.cleaned_data["reason"], "author": author}


class EditForm(NotedForm):
    """What is to be done with the values that were typed, which are read beside this form."""

    action = forms.ChoiceField(choices=[(name, name) for name in ("choose", "review", "edit", "fork")])


class ForkForm(NotedForm):
    """How a checkpoint is to be forked."""

    kind = forms.ChoiceField(choices=[(name, name) for name in ("in-place", "thread")])
    target = Text()

    def clean(self) -> dict[str, Any]:
        found = super().clean() or self.cleaned_data
        if found.get("kind") == "thread" and not found.get("target"):
            self.add_error("target", "Give the new thread an id.")
        if len(tilde.encode(found.get("target") or "")) > LONGEST_ID:
            self.add_error("target", "This id is too long for the address of a page.")
        return found


class ValueParameters(Parameters):
    ns = Text()
    part = forms.ChoiceField(required=False, choices=[(name, name) for name in PARTS])
    channel = Text()
    task = Text()
    idx = forms.IntegerField(required=False)
    path = forms.RegexField(PATH, required=False)
    start = forms.IntegerField(required=False, min_value=0, max_value=10**9)


class RawParameters(Parameters):
    ns = Text()
    download = forms.BooleanField(required=False)


def as_path(text: str | None) -> Path:
    """Return the address of a part, as a parameter writes it."""
    return tuple(int(ordinal) for ordinal in (text or "").split(".") if ordinal)


KINDS = get_args(Kind)
ACTIONS = ("confirm", "stop", "erase", "again", "discard", "backup", "drop-backup")


class AskParameters(Parameters):
    """`kind` is what the page has chosen at first, `again` the replay that is asked for once more."""

    ns = Text()
    again = forms.UUIDField(required=False)
    kind = forms.ChoiceField(required=False, choices=[(name, name) for name in KINDS])


class AskForm(forms.Form):
    """What is asked of a checkpoint. Answers and their interrupts stand beside this form, one for each.

    `basis` is what was seen of the checkpoint. A text of `…_json` is JSON.
    """

    kind = forms.ChoiceField(choices=[(name, name) for name in KINDS])
    graph = Text(max_length=100)
    message = Text(max_length=1_000_000)
    input_json = Text(max_length=4_000_000)
    configurable_json = Text(max_length=1_000_000)
    context_json = Text(max_length=1_000_000)
    step_limit = forms.IntegerField(min_value=1, max_value=MOST_STEPS)
    seconds_limit = forms.IntegerField(min_value=1, max_value=MOST_SECONDS)
    reason = Text(max_length=500)
    author = Text(max_length=100)
    basis = Text()
    id = forms.UUIDField(required=False)  # of the replay, so that a form that is sent twice asks once


class AuditParameters(Parameters):
    who = Text()
    action = Text()
    store = Text()
    thread = Key()
    outcome = forms.ChoiceField(required=False, choices=Outcome.choices)
    since = forms.DateField(required=False)
    until = forms.DateField(required=False)
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class LoginParameters(Parameters):
    """`next` is where to go after the login, on this site."""

    next = Text(max_length=LONGEST_ID)


class LoginForm(forms.Form):
    name = forms.CharField(max_length=150)
    password = forms.CharField(max_length=1_000, strip=False)


class PasswordForm(forms.Form):
    """One's own password: the old one, and twice the new one."""

    old = forms.CharField(max_length=1_000, strip=False)
    new = forms.CharField(max_length=1_000, strip=False)
    again = forms.CharField(max_length=1_000, strip=False)

    def clean(self) -> dict[str, Any]:
        found = super().clean() or self.cleaned_data
        if found.get("new") and found.get("again") and found["new"] != found["again"]:
            self.add_error("again", "This is not the same as the new password.")
        return found


class FindForm(forms.Form):
    """Which threads are meant. All that is given must hold."""

    ids = Text(max_length=8_000_000)
    begins = Text(max_length=LONGEST_ID)
    meta = Text(max_length=2_000)
    idle_days = forms.IntegerField(required=False, min_value=1, max_value=36_500)
    status = forms.ChoiceField(required=False, choices=[("", "any"), *((name, name) for name in STATES)])
    every = forms.BooleanField(required=False)


class PlanForm(FindForm):
    """Which of the threads that were found are to be deleted: all, or `some` by their keys."""

    which = forms.ChoiceField(choices=[(name, name) for name in ("all", "some")])


class DeletionParameters(Parameters):
    """`after` is the number of the last thread of the page before."""

    after = forms.IntegerField(required=False, min_value=0)


class DeletionForm(forms.Form):
    """What is to be done about a deletion."""

    action = forms.ChoiceField(choices=[(name, name) for name in ACTIONS])
    typed = Text(max_length=LONGEST_ID)
    reason = Text(max_length=500)
    backup = forms.BooleanField(required=False)
    insist = forms.BooleanField(required=False)


class DeletionsParameters(Parameters):
    store = Text()
    before = Text()


class ReplaysParameters(Parameters):
    state = Text()
    store = Text()
    thread = Key()
    by = Text()
    before = Text()
