"""A stored row, decoded: what a checkpoint says about itself, or why it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from checkpoints.inert import Encrypted, Pickled, Rotten
from checkpoints.outline import brief
from checkpoints.saver.ids import ticks_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checkpoints.inert import InertSerializer
    from checkpoints.stores.records import CheckpointRow, WriteRow

GREGORIAN_EPOCH = datetime(1582, 10, 15, tzinfo=UTC)
NOTHING: Mapping[str, Any] = {}


# These two are decoded on first use, a page of threads needs few of its values: hence no slots.
@dataclass(frozen=True)
class Snapshot:
    """One checkpoint: its row, and its content and metadata, decoded on first use. Never raises for them.

    `content` is empty when the row could not be decoded; `problem` then says why. `metadata_problem` is
    the same for the metadata column. Both sentences hold no stored content.
    """

    row: CheckpointRow
    serde: InertSerializer

    @property
    def id(self) -> str:
        return self.row.checkpoint_id

    @property
    def parent_id(self) -> str | None:
        return self.row.parent_checkpoint_id

    @cached_property
    def _decoded(self) -> tuple[Mapping[str, Any], str | None]:
        content, problem = _content(self.row, self.serde)
        return (self.serde.masks.content(content) if self.serde.masks else content), problem

    @property
    def content(self) -> Mapping[str, Any]:
        return self._decoded[0]

    @property
    def problem(self) -> str | None:
        return self._decoded[1]

    @cached_property
    def _loaded_metadata(self) -> dict[str, Any] | Rotten:
        found = self.serde.loads_metadata(self.row.metadata)
        if self.serde.masks and not isinstance(found, Rotten):
            return self.serde.masks.of_metadata(found)
        return found

    @property
    def metadata(self) -> Mapping[str, Any]:
        return NOTHING if isinstance(self._loaded_metadata, Rotten) else self._loaded_metadata

    @property
    def metadata_problem(self) -> str | None:
        return self._loaded_metadata.reason if isinstance(self._loaded_metadata, Rotten) else None

    @property
    def source(self) -> str | None:
        source = self.metadata.get("source")
        return source if isinstance(source, str) else None

    @property
    def step(self) -> int | None:
        step = self.metadata.get("step")
        return step if isinstance(step, int) else None

    @cached_property
    def written_at(self) -> datetime | None:
        return parsed_time(self.content.get("ts")) or id_time(self.id)

    @cached_property
    def values(self) -> Mapping[str, Any]:
        return _mapping(self.content.get("channel_values"))

    @cached_property
    def versions(self) -> Mapping[str, Any]:
        return _mapping(self.content.get("channel_versions"))

    @cached_property
    def seen(self) -> Mapping[str, Mapping[str, Any]]:
        return {node: _mapping(seen) for node, seen in _mapping(self.content.get("versions_seen")).items()}


@dataclass(frozen=True)
class PendingWrite:
    """One row of `writes`, its value decoded on first use. Never raises for what is stored in it."""

    row: WriteRow
    serde: InertSerializer

    @property
    def channel(self) -> str:
        return self.row.channel

    @cached_property
    def value(self) -> Any:
        row = self.row
        value = None if row.skipped else self.serde.loads_typed((row.type or "", row.value or b""))
        return self.serde.masks.value(row.channel, value) if self.serde.masks else value


def _content(row: CheckpointRow, serde: InertSerializer) -> tuple[Mapping[str, Any], str | None]:
    if row.channels is None:
        return _blob_content(row, serde)
    document, problem = _document(row, serde)
    if problem:
        return NOTHING, problem
    # A row of its own wins: the snapshot of a DeltaChannel leaves a `true` in the document. By name, since
    # JSONB keeps no order.
    beside = {channel.name: channel.value(serde) for channel in row.channels}
    values = {**_mapping(document.get("channel_values")), **beside}
    return {**document, "channel_values": dict(sorted(values.items()))}, None


def _document(row: CheckpointRow, serde: InertSerializer) -> tuple[Mapping[str, Any], str | None]:
    if row.skipped or row.blob is None:
        return NOTHING, f"This checkpoint is too large to decode here ({row.size:,} bytes)."
    match serde.loads_typed(("json", row.blob)):
        case dict() as document:
            return document, None
        case Rotten(reason=reason):
            return NOTHING, f"This row cannot be decoded: {reason}."
    return NOTHING, "The row decodes, but not to a checkpoint."


def _blob_content(row: CheckpointRow, serde: InertSerializer) -> tuple[Mapping[str, Any], str | None]:
    if row.skipped:
        return NOTHING, f"This state is too large to decode here ({row.size:,} bytes)."
    if row.blob is None or row.type is None:
        return NOTHING, "The row holds no checkpoint (NULL)."
    value = serde.loads_typed((row.type, row.blob))
    match value:
        case dict():
            return value, None
        case Rotten():
            return NOTHING, f"This row cannot be decoded: {value.reason}."
        case Encrypted():
            return NOTHING, "Encrypted. Set LANGGRAPH_AES_KEY to the agent's key and open the store again."
        case Pickled():
            return NOTHING, "Pickled. Unpickling runs code, so it is only listed."
    return NOTHING, "The row decodes, but not to a checkpoint."


def parsed_time(text: Any) -> datetime | None:
    """Return an ISO 8601 text as a time in UTC, None when it is none."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def id_time(checkpoint_id: str) -> datetime | None:
    """Return the time inside a checkpoint id (a version 6 UUID, 100 ns ticks), None when it is none."""
    if (ticks := ticks_of(checkpoint_id)) is None:
        return None
    try:
        return GREGORIAN_EPOCH + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping by text; keys that are none, which LangGraph never writes, by what they look like."""
    if not isinstance(value, dict):
        return NOTHING
    if all(type(key) is str for key in value):
        return value
    return {key if isinstance(key, str) else brief(key): item for key, item in value.items()}
