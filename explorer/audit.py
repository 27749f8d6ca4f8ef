"""The audit: who did what, when, and how it ended. Each action is a row before it and a row after it.

Rows are only ever added. Where the first cannot be written, the action is not begun: `audited` is for views,
`recorded` for commands and processes in the background. Neither keeps anything that a store holds.

    async with audited(who(request), "fork", store=store, thread=thread) as entry:
        made = await afork(…)
        entry.add(made=made.checkpoint_id)
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, transaction
from django.utils import timezone

from checkpoints.errors import StoreError, StoreUnreachable
from explorer import stores
from explorer.database.threads import DatabaseUnavailable, in_database
from explorer.models import AuditEntry, Outcome

if TYPE_CHECKING:
    from types import TracebackType

    from explorer.people.roles import Person

LONGEST = 500  # characters of a text among the details
NOT_BEGUN = "The audit cannot be written, so nothing was done."
NOT_NOTED = "This was done, but the audit could not note how it ended."


class NotAudited(StoreUnreachable):
    """The audit cannot be written: the app's own database does not answer, is full, or may not be written."""

    advice = "The explorer's own database must be writable; DATABASE_URL may name another. Then try again."


@dataclass(slots=True)
class Entry:
    """An action that is under way. What is added to it goes into the row that says how it ended."""

    person: Person
    action: str
    store: str = ""
    thread: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    added: dict[str, Any] = field(default_factory=dict)

    def add(self, **details: Any) -> None:
        """Say more of what was done: ids and numbers, never what a store holds."""
        self.added.update(details)

    def write(self, outcome: Outcome, *, durable: bool = True) -> None:
        """Add a row, in a transaction of its own unless what it tells of goes with it. Raises NotAudited."""
        details = self.details if outcome == Outcome.BEGUN else self.added
        row = AuditEntry(
            action_id=self.id,
            at=timezone.now(),
            person=_kept(self.person.name),
            roles="local" if self.person.local else " ".join(self.person.roles),
            action=self.action,
            store=_key(self.store),
            thread_id=_kept(self.thread, None),
            outcome=outcome,
            details=_detail(details),
        )
        try:
            with transaction.atomic(durable=durable):  # it must not go with what others undo
                row.save()
        except (DatabaseError, OSError) as error:
            raise NotAudited(NOT_BEGUN if outcome == Outcome.BEGUN else NOT_NOTED) from error


class audited:  # noqa: N801  it is called like a function
    """Note an action from the event loop, before and after. Raises NotAudited."""

    def __init__(
        self,
        person: Person,
        action: str,
        *,
        store: str = "",
        thread: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """`store` is a slug or a key. `details` are ids, numbers, and the reason that the person typed."""
        self.entry = Entry(person, action, store, thread, dict(details or {}))

    async def __aenter__(self) -> Entry:
        try:
            await in_database(self.entry.write, Outcome.BEGUN)
        except DatabaseUnavailable as error:
            raise NotAudited(NOT_BEGUN) from error
        return self.entry

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            await in_database(self.entry.write, Outcome.DONE)
            return
        with suppress(StoreUnreachable):  # what went wrong in the action is what there is to say
            await in_database(self.entry.write, _outcome_of(error))


class recorded(audited):  # noqa: N801
    """Note an action where there is no event loop."""

    def __enter__(self) -> Entry:
        self.entry.write(Outcome.BEGUN)
        return self.entry

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            self.entry.write(Outcome.DONE)
            return
        with suppress(StoreUnreachable):
            self.entry.write(_outcome_of(error))


def _outcome_of(error: BaseException) -> Outcome:
    return Outcome.REFUSED if isinstance(error, StoreError) else Outcome.FAILED


def _key(store: str) -> str:
    """Return a store's key, by which every server knows it."""
    known = stores.registered().get(store)
    return _kept(stores.key(known) if known else store, None)


def _detail(value: Any) -> Any:
    """Return a detail as JSON keeps it, and no more of a text than a reason has."""
    match value:
        case bool() | int() | float() | None:
            return value
        case list() | tuple():
            return [_detail(each) for each in value]
        case Mapping():
            return {_kept(str(name)): _detail(each) for name, each in value.items()}
    return _kept(str(value))


def _kept(text: str, longest: int | None = LONGEST) -> str:
    """Return a text without what no database keeps: NUL, and halves of surrogate pairs."""
    text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"
