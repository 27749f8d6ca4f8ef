"""A checkpoint as typed JSON, exactly as the saver returns it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse

from checkpoints.errors import CheckpointNotFound
from checkpoints.masking import MASKED
from checkpoints.typedjson import jsonable
from explorer import addresses, tilde
from explorer.forms import RawParameters
from explorer.offload import offload
from explorer.people.roles import who
from explorer.reading import read
from explorer.rendering import screen
from explorer.stores import located

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import CheckpointTuple

    from checkpoints.masking import Masks
    from checkpoints.stores import Store

SHOWN = 200_000


async def raw(request: HttpRequest, store: str, thread: str, checkpoint_id: str) -> HttpResponse:
    asked = RawParameters.read(request.GET)
    ns = asked["ns"] or ""
    text = await read(who(request), located(store), lambda opened: _text(opened, thread, ns, checkpoint_id))
    if asked["download"]:
        return _download(text, thread, checkpoint_id)
    context = {
        "text": text[:SHOWN],
        "cut": max(len(text) - SHOWN, 0),
        "id": checkpoint_id,
        "download_href": addresses.raw(store, thread, checkpoint_id, ns=ns, download=True),
        "back_href": addresses.checkpoint(store, thread, checkpoint_id, ns=ns),
        "store": store,
        "thread": thread,
    }
    return screen(request, "raw/page.html", "raw/_raw.html", context)


async def _text(opened: Store, thread: str, ns: str, id: str) -> str:
    row = await opened.checkpoint_row(thread, ns, id)
    config: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id}}
    found = await opened.saver.aget_tuple(config)
    if found is None:  # deleted since
        raise CheckpointNotFound("There is no such checkpoint any more.")
    return await offload(row.size, _dumped, found, opened.serde.masks)


def _dumped(found: CheckpointTuple, masks: Masks | None) -> str:
    return json.dumps(_document(masked(found, masks) if masks else found), indent=2, ensure_ascii=False)


def masked(found: CheckpointTuple, masks: Masks) -> CheckpointTuple:
    """Return what the saver has read without what is masked; what is no mapping is masked as a whole."""
    checkpoint: Any = MASKED
    if isinstance(found.checkpoint, dict):
        checkpoint = masks.content(found.checkpoint)
    metadata: Any = MASKED
    if isinstance(found.metadata, dict):
        metadata = masks.of_metadata(found.metadata)
    writes = [(id, name, masks.value(str(name), value)) for id, name, value in found.pending_writes or ()]
    return found._replace(checkpoint=checkpoint, metadata=metadata, pending_writes=writes)


def _document(found: CheckpointTuple) -> dict[str, Any]:
    return {
        "config": jsonable(dict(found.config)),
        "checkpoint": jsonable(found.checkpoint),
        "metadata": jsonable(found.metadata),
        "parent_config": jsonable(dict(found.parent_config)) if found.parent_config else None,
        "pending_writes": [
            {"task_id": jsonable(task), "channel": jsonable(channel), "value": jsonable(value)}
            for task, channel, value in found.pending_writes or ()
        ],
    }


def _download(text: str, thread: str, id: str) -> HttpResponse:
    name = f"{tilde.encode(thread)[:80]}-{tilde.encode(id)[:40]}.json"
    response = HttpResponse(
        text.encode("utf-8", "backslashreplace"), content_type="application/json; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
