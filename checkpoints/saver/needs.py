"""Needs: the ancestors without which a checkpoint is not what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checkpoints.saver.lineage import walk

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from checkpoints.saver.lineage import Ancestors
    from checkpoints.saver.tables import Described, Tables
    from checkpoints.statements import Operation

COUNTERS = "counters_since_delta_snapshot"


class Needs:
    """What checkpoints of one thread need of their ancestors."""

    def __init__(self, tables: Tables[Any], thread_id: str) -> None:
        self._tables = tables
        self._thread_id = thread_id
        self._counted: Mapping[str, Collection[str]] | None = None

    def of(self, at: Described) -> Operation[list[str]]:
        """Return the ids of the ancestors that a checkpoint needs, nearest first."""
        parent_id = at.parent_checkpoint_id
        if not parent_id:
            return []
        channels = yield from self._delta_channels(at)
        link = (at.checkpoint_id, parent_id)
        ancestors = self._tables.ancestors(self._thread_id, at.checkpoint_ns, link, channels)
        ids = yield from self._chain(at.checkpoint_ns, ancestors, channels)
        if ids or (isinstance(at.version, int) and at.version >= 4):
            return ids
        # Before version 4, the tasks that a node sent were read from the writes of the parent.
        sends = yield from self._tables.has_sends(self._thread_id, at.checkpoint_ns, parent_id)
        return [parent_id] if sends else []

    def _delta_channels(self, at: Described) -> Operation[set[str]]:
        """Return the DeltaChannels that have content, but not in the checkpoint itself."""
        if self._counted is None:
            self._counted = yield from self._tables.counted(self._thread_id)
        channels = set(self._counted.get(at.checkpoint_ns, ())) - set(at.held)
        if unversioned := channels - set(at.versioned):
            # Never written, or by an early release of LangGraph.js, which gave the first write no version.
            written = yield from self._tables.written(self._thread_id, at.checkpoint_ns)
            channels -= unversioned - set(written)
        return channels

    def _chain(self, checkpoint_ns: str, ancestors: Ancestors, channels: set[str]) -> Operation[list[str]]:
        longest: list[str] = []
        for channel, history in (yield from walk(ancestors, channels)).items():
            chain = history.chain
            if history.seed is None:
                place = (self._thread_id, checkpoint_ns, chain, channel)
                oldest = yield from self._tables.oldest_write(*place)
                chain = [] if oldest is None else chain[: oldest + 1]
            longest = max(longest, chain, key=len)
        return longest


def names(record: Any, key: str) -> set[str]:
    """Return the names in a mapping of a mapping; none where there is no such thing."""
    value = record.get(key) if isinstance(record, dict) else None
    return set(value) if isinstance(value, dict) else set()
