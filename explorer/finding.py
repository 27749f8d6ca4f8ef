"""Finding threads to delete: what the fields of the form ask for, and in which words a plan keeps that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.http import QueryDict

from checkpoints.errors import SelectionRefused
from checkpoints.masking import MASKED
from checkpoints.selection import Criteria, pasted
from explorer import search
from explorer.bounds import listed
from explorer.forms import FindForm
from explorer.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from explorer.people.roles import Person

NAMED: Final = 5  # ids that a plan names of those that were pasted
METADATA: Final = "metadata "
SPACED: Final = re.compile(r"(?<=[\w.-])\s*=\s*")
PAIRS: Final = "Write metadata as key=value, several of them with spaces between: user_id=alice tenant=acme"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, and the same in words."""

    criteria: Criteria
    words: tuple[str, ...]


def wanted(person: Person, asked: Mapping[str, Any]) -> Wanted | None:
    """Return what the fields ask for, None where they are empty.

    Raises SelectionRefused for what cannot be meant, and NotAllowed for a key that is masked.
    """
    ids = pasted(asked["ids"] or "")
    pairs = _pairs(person, asked["meta"] or "")
    days, status, prefix = asked["idle_days"], asked["status"] or None, asked["begins"] or ""
    criteria = Criteria(
        thread_ids=ids,
        prefix=prefix,
        metadata=pairs,
        idle_since=None if days is None else datetime.now(UTC) - timedelta(days=days),
        status=status,
        every=bool(asked["every"]),
    )
    if criteria == Criteria():
        return None
    words = [
        f"{count(len(ids), 'id')} from a list: {listed(list(ids), NAMED)}" if ids else "",
        f"an id that begins with {prefix!r}" if prefix else "",
        *(f"{METADATA}{key} = {value} in some checkpoint" for key, value in pairs),
        f"no checkpoint in the last {count(days, 'day')}" if days is not None else "",
        f"status {status}" if status else "",
        "every thread of the store" if asked["every"] else "",
    ]
    return Wanted(criteria, tuple(filter(None, words)))


def of_query(person: Person, query: str) -> Wanted | None:
    """Return what an address of the page that finds threads asks for; None for no such address."""
    form = FindForm(QueryDict(query))
    return wanted(person, form.cleaned_data) if query and form.is_valid() else None


def shown_to(person: Person, words: Iterable[str]) -> tuple[str, ...]:
    """Return how a plan has found its threads, without the value of a key that is masked for a person."""
    return tuple(_shown_to(person, each) for each in words)


def _shown_to(person: Person, words: str) -> str:
    key, is_pair, _ = words.removeprefix(METADATA).partition(" = ")
    hidden = words.startswith(METADATA) and is_pair and person.masks.hides_search(key)
    return f"{METADATA}{key} = {MASKED}" if hidden else words


def _pairs(person: Person, text: str) -> tuple[tuple[str, str], ...]:
    """Read `key=value` pairs, all of which must hold."""
    text = SPACED.sub("=", text)
    found = list(search.PAIR.finditer(text))
    rest = search.PAIR.sub(" ", text).strip()
    if rest or (text.strip() and not found):
        raise SelectionRefused("This is no metadata.", advice=PAIRS)
    for pair in found:
        search.require_key(person, pair["key"])
    return tuple((each["key"], each["plain"] if each["quoted"] is None else each["quoted"]) for each in found)
