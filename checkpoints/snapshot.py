"""A stored row, decoded: what a checkpoint says about itself, or why it cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from checkpoints.inert import Encrypted, Pickled, Rotten

if TYPE_CHECKING:
    from checkpoints.inert import InertSerializer
    from checkpoints.stores.records import CheckpointRow, WriteRow

GREGORIAN_EPOCH = datetime(1582, 10, 15, tzinfo=UTC)
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One checkpoint: its row, its decoded content and its metadata.

    `content` is empty when the row could not be decoded; `problem` then says why. `metadata_problem` is
    the same for the metadata column. Both sentences hold no stored content.
    """

    row: CheckpointRow
    content: Mapping[str, Any]
    metadata: Mapping[str, Any]
    problem: str | None = None
    metadata_problem: str | None = None

    @property
    def id(self) -> str:
        return self.row.checkpoint_id

    @property
    def parent_id(self) -> str | None:
        return self.row.parent_checkpoint_id

    @property
    def source(self) -> str | None:
        source = self.metadata.get("source")
        return source if isinstance(source, str) else None

    @property
    def step(self) -> int | None:
        step = self.metadata.get("step")
        return step if isinstance(step, int) else None

    @property
    def written_at(self) -> datetime | None:
        return parsed_time(self.content.get("ts")) or id_time(self.id)

    @property
    def values(self) -> Mapping[str, Any]:
        return _mapping(self.content.get("channel_values"))

    @property
    def versions(self) -> Mapping[str, Any]:
        return _mapping(self.content.get("channel_versions"))

    @property
    def seen(self) -> Mapping[str, Mapping[str, Any]]:
        return {node: _mapping(seen) for node, seen in _mapping(self.content.get("versions_seen")).items()}


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """One decoded row of `writes`."""

    row: WriteRow
    value: Any

    @property
    def channel(self) -> str:
        return self.row.channel


def snapshot(row: CheckpointRow, serde: InertSerializer) -> Snapshot:
    """Decode one row of `checkpoints`. Never raises for what is stored in it."""
    metadata = serde.loads_metadata(row.metadata)
    metadata_problem = metadata.reason if isinstance(metadata, Rotten) else None
    content, problem = _content(row, serde)
    return Snapshot(
        row=row,
        content=content,
        metadata=NOTHING if isinstance(metadata, Rotten) else metadata,
        problem=problem,
        metadata_problem=metadata_problem,
    )


def pending_write(row: WriteRow, serde: InertSerializer) -> PendingWrite:
    """Decode one row of `writes`. Never raises for what is stored in it."""
    if row.skipped:
        return PendingWrite(row, None)
    return PendingWrite(row, serde.loads_typed((row.type or "", row.value if row.value is not None else b"")))


def _content(row: CheckpointRow, serde: InertSerializer) -> tuple[Mapping[str, Any], str | None]:
    if row.skipped:
        return NOTHING, f"This state is too large to decode here ({row.size:,} bytes)."
    if row.blob is None or row.type is None:
        return NOTHING, "The row holds no checkpoint (NULL)."
    value = serde.loads_typed((row.type, row.blob))
    match value:
        case Rotten():
            return NOTHING, f"This row cannot be decoded: {value.reason}."
        case Encrypted():
            return NOTHING, "Encrypted. Set LANGGRAPH_AES_KEY to the agent's key and open the store again."
        case Pickled():
            return NOTHING, "Pickled. Unpickling runs code, so it is only listed."
        case Mapping():
            return value, None
    return NOTHING, "The row decodes, but not to a checkpoint."


def parsed_time(text: Any) -> datetime | None:
    """Return an ISO 8601 text as an aware time, None when it is none."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def id_time(checkpoint_id: str) -> datetime | None:
    """Return the time inside a checkpoint id (a version 6 UUID, 100 ns ticks), None when it is none."""
    try:
        number = UUID(checkpoint_id)
    except ValueError:
        return None
    if number.version != 6:
        return None
    bits = number.int
    ticks = (bits >> 96) << 28 | ((bits >> 80) & 0xFFFF) << 12 | ((bits >> 64) & 0xFFF)
    try:
        return GREGORIAN_EPOCH + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else NOTHING
