"""Needs: the ancestors without which a checkpoint is not what it is."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.types import TASKS

from checkpoints.sqlite.codec import decode_metadata, skim
from checkpoints.sqlite.lineage import Ancestors, walk
from checkpoints.sqlite.operations import select

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.statements import Operation, Row

COUNTERS = "counters_since_delta_snapshot"
COUNTING = """\
SELECT checkpoint_ns, metadata FROM checkpoints
WHERE thread_id = ? AND instr(CAST(metadata AS BLOB), CAST(? AS BLOB))"""
WRITTEN = "SELECT DISTINCT channel FROM writes WHERE thread_id = ? AND checkpoint_ns = ?"
OLDEST_WRITE = """\
SELECT max(chain.key) FROM json_each(?) AS chain CROSS JOIN writes
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = chain.value AND channel = ?"""
SENDS = """\
SELECT 1 FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND channel = ?
LIMIT 1"""


class Needs:
    """What checkpoints of one thread need of their ancestors."""

    def __init__(self, serde: SerializerProtocol, thread_id: str) -> None:
        self._serde = serde
        self._thread_id = thread_id
        self._counted: dict[str, set[str]] | None = None

    def of(self, row: Row) -> Operation[list[str]]:
        """Return the ids of the ancestors that a checkpoint (`COLUMNS`) needs, nearest first."""
        _, checkpoint_ns, checkpoint_id, parent_id, type_, blob, _ = row
        if not parent_id:
            return []
        checkpoint = skim(self._serde, type_, blob)
        channels = yield from self._delta_channels(checkpoint_ns, checkpoint)
        ancestors = Ancestors(self._thread_id, checkpoint_ns, checkpoint_id, parent_id)
        ids = yield from self._chain(checkpoint_ns, ancestors, channels)
        version = checkpoint.get("v")
        if ids or (isinstance(version, int) and version >= 4):
            return ids
        # Before version 4, the tasks that a node sent were read from the writes of the parent.
        sends = yield from select(SENDS, (self._thread_id, checkpoint_ns, parent_id, TASKS))
        return [parent_id] if sends else []

    def _delta_channels(self, checkpoint_ns: str, checkpoint: dict[str, Any]) -> Operation[set[str]]:
        """Return the DeltaChannels that have content, but not in the checkpoint itself."""
        if self._counted is None:
            self._counted = yield from _counted(self._serde, self._thread_id)
        channels = self._counted.get(checkpoint_ns, set()) - _names(checkpoint, "channel_values")
        if unversioned := channels - _names(checkpoint, "channel_versions"):
            # Never written, or by an early release of LangGraph.js, which gave the first write no version.
            written = yield from select(WRITTEN, (self._thread_id, checkpoint_ns))
            channels -= unversioned - {channel for (channel,) in written}
        return channels

    def _chain(self, checkpoint_ns: str, ancestors: Ancestors, channels: set[str]) -> Operation[list[str]]:
        longest: list[str] = []
        for channel, history in (yield from walk(self._serde, ancestors, channels)).items():
            chain = history.chain
            if history.seed is None:
                place = (json.dumps(chain), self._thread_id, checkpoint_ns, channel)
                oldest = (yield from select(OLDEST_WRITE, place))[0][0]
                chain = [] if oldest is None else chain[: oldest + 1]
            longest = max(longest, chain, key=len)
        return longest


def _counted(serde: SerializerProtocol, thread_id: str) -> Operation[dict[str, set[str]]]:
    """Return, by namespace, the DeltaChannels that LangGraph ever counted the updates of.

    A graph counts its own: the one that wrote the head may not have them all.
    """
    counted: dict[str, set[str]] = {}
    for checkpoint_ns, metadata in (yield from select(COUNTING, (thread_id, COUNTERS))):
        with suppress(ValueError):  # metadata that is no JSON names none
            counted.setdefault(checkpoint_ns, set()).update(
                _names(decode_metadata(serde, metadata), COUNTERS)
            )
    return counted


def _names(record: Any, key: str) -> set[str]:
    value = record.get(key) if isinstance(record, dict) else None
    return set(value) if isinstance(value, dict) else set()
