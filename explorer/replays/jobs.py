"""From a replay's row to what its run is told: with where the store is, which no row holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings

from checkpoints.stores.siblings import REPLAY, REPLAY_AUTHOR, REPLAY_REASON
from explorer.graphs.sources import GraphSource
from explorer.running.job import Job

if TYPE_CHECKING:
    from checkpoints.stores import Location
    from explorer.models import Replay


def job(replay: Replay, source: GraphSource, location: Location) -> dict[str, Any]:
    """Return the job of a replay as JSON."""
    todo = _job(replay, source, location.path, location.conninfo)
    return todo.to_json() | {"lease_seconds": settings.EXPLORER_LEASE_SECONDS}


def config(replay: Replay) -> dict[str, Any]:
    """Return the config that a graph is run with, for a worker of one's own."""
    return _job(replay, GraphSource("", "", ""), "", "").config


def _job(replay: Replay, source: GraphSource, path: str, conninfo: str) -> Job:
    given = replay.given
    note = {REPLAY: str(replay.id), REPLAY_REASON: replay.reason, REPLAY_AUTHOR: replay.author}
    return Job(
        graph=source,
        path=path,
        conninfo=conninfo,
        kind=replay.kind,  # type: ignore[arg-type]
        thread_id=replay.thread_id,
        checkpoint_ns=replay.checkpoint_ns,
        checkpoint_id=replay.checkpoint_id,
        head=replay.head,
        parents=given.get("parents") or {},
        answers=given.get("answers") or {},
        input=given.get("input"),
        configurable=given.get("configurable") or {},
        context=given.get("context"),
        metadata={**(given.get("metadata") or {}), **{key: text for key, text in note.items() if text}},
        encrypted=bool(given.get("encrypted")),
        step_limit=replay.step_limit,
    )
