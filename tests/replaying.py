"""What tests of the replays' pages share: workers that tell of graphs, and runs without a graph."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from checkpoints.stores import Location
from explorer import stores
from explorer.database.threads import in_database
from explorer.models import Replay, Worker
from explorer.replays import requests

if TYPE_CHECKING:
    from forkable import Forkable

NODES = {
    "chat": ["agent", "tools"],
    "asking": ["prepare", "ask", "ship"],
    "joining": ["a", "b1", "b2", "join"],
}


async def told_of(forkable: Forkable, **more: Any) -> None:
    """Let a worker tell of the graphs of a store."""
    key, now = stores.key(Location.parse(str(forkable.place))), timezone.now()
    graphs = {name: {"where": f"./{name}.py:graph", "nodes": nodes} for name, nodes in NODES.items()}
    told = {"stores": [key], "graphs": {**graphs, **more}, "started_at": now, "seen_at": now}
    await in_database(lambda: Worker.objects.create(id=uuid.uuid4(), name="a worker", **told))


async def replays() -> list[Replay]:
    return await in_database(lambda: list(Replay.objects.order_by("asked_at")))


async def claimed(replay: Replay) -> Replay:
    taken = await in_database(requests.claim, replay.id, "a worker")
    assert taken
    return taken


async def ended(replay: Replay, state: str, *told: dict[str, Any], **more: Any) -> None:
    assert await in_database(requests.end, replay, {"state": state, **more}, told)
