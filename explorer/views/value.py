"""One part of a stored value, for what a checkpoint's page leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from checkpoints.deltas import delta_items
from checkpoints.errors import NotFound
from checkpoints.inert import Deferred
from checkpoints.masking import MASKED
from checkpoints.outline import at_path
from checkpoints.snapshot import PendingWrite, Snapshot
from explorer import addresses, writing
from explorer.forms import ValueParameters, as_path
from explorer.offload import LARGE, offload
from explorer.people.roles import FORK, who
from explorer.reading import read
from explorer.rendering import screen
from explorer.stores import located
from explorer.values import ValueView, value_address, value_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    from checkpoints.stores import Store


@dataclass(frozen=True, slots=True)
class ValueScreen:
    """What the page of one value shows."""

    id: str
    title: str
    address: str
    value: ValueView
    back_href: str


async def value(request: HttpRequest, store: str, thread: str, checkpoint_id: str) -> HttpResponse:
    asked = ValueParameters.read(request.GET)
    asked["part"] = asked["part"] or "values"
    person = who(request)
    edits = person.may(FORK)
    shown = await read(
        person, located(store), lambda opened: _load(opened, store, thread, checkpoint_id, asked, edits=edits)
    )
    context = {"value": shown, "store": store, "thread": thread}
    return screen(request, "value/page.html", "value/_value.html", context)


async def _load(
    opened: Store, store: str, thread: str, id: str, asked: dict[str, Any], *, edits: bool
) -> ValueScreen:
    size, whole = await _find(opened, thread, id, asked)
    edit = None
    if edits and asked["part"] == "values" and not await writing.refusal(opened):
        channel = asked["channel"] or ""
        edit = partial(addresses.edit, store, thread, id, ns=asked["ns"] or "", channel=channel)
    return await offload(size, lambda: _screen(store, thread, id, asked, _part(whole(), asked), edit))


async def _find(opened: Store, thread: str, id: str, asked: dict[str, Any]) -> tuple[int, Callable[[], Any]]:
    """Return the size of the row that holds the value, and what decodes it."""
    if asked["part"] == "writes":
        write = await _write(opened, thread, id, asked)
        return write.row.size, lambda: write.value
    at = Snapshot(await opened.checkpoint_row(thread, asked["ns"] or "", id), opened.serde)
    if asked["part"] == "delta" and opened.serde.masks and opened.serde.masks.hides(asked["channel"] or ""):
        return 0, lambda: MASKED
    if asked["part"] == "delta":
        config = {"thread_id": thread, "checkpoint_ns": asked["ns"] or "", "checkpoint_id": id}
        items = await delta_items(opened.saver, {"configurable": config}, asked["channel"] or "")
        return LARGE, lambda: items
    if asked["part"] == "metadata":
        return len(at.row.metadata or b""), lambda: at.metadata
    return at.row.size, lambda: _channel(at.values, asked["channel"] or "")


def _part(whole: Any, asked: dict[str, Any]) -> Any:
    try:
        return at_path(whole.open() if isinstance(whole, Deferred) else whole, as_path(asked["path"]))
    except LookupError:
        raise _missing() from None


async def _write(opened: Store, thread: str, id: str, asked: dict[str, Any]) -> PendingWrite:
    for row in await opened.writes(thread, asked["ns"] or "", id):
        if row.task_id == asked["task"] and row.idx == asked["idx"]:
            return PendingWrite(row, opened.serde)
    raise _missing()


def _channel(values: Any, name: str) -> Any:
    if name not in values:
        raise _missing()
    return values[name]


def _missing() -> NotFound:
    return NotFound(
        "There is no such value in this checkpoint.",
        advice="Go back to the checkpoint and open the value from there.",
    )


def _screen(
    store: str, thread: str, id: str, asked: dict[str, Any], found: Any, edit: Callable[..., str] | None
) -> ValueScreen:
    ns, path = asked["ns"] or "", as_path(asked["path"])
    fixed = {
        name: asked[name] for name in ("part", "channel", "task", "idx") if asked[name] not in (None, "")
    }
    view = value_view(
        found, value_address(store, thread, id, ns, **fixed), path=path, start=asked["start"] or 0, edit=edit
    )
    return ValueScreen(
        id=id,
        title=asked["channel"] or {"writes": "pending write"}.get(asked["part"], asked["part"]),
        address=".".join(map(str, path)),
        value=view,
        back_href=addresses.checkpoint(store, thread, id, ns=ns),
    )
