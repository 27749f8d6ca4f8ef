"""Between rows and LangGraph's objects: what the columns hold, and in which form.

A checkpoint's plain values (text, numbers, booleans, None) stand in its JSON; every other value is a row of
`checkpoint_blobs`, found by its channel and version. A row there wins over a plain value: where a
DeltaChannel was stored whole, `true` stands in the JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langgraph.checkpoint.base import CheckpointTuple, get_serializable_checkpoint_metadata
from langgraph.checkpoint.serde.types import TASKS, _DeltaSnapshot
from psycopg.types.json import Jsonb

from checkpoints.revival import loads_of
from checkpoints.saver.addresses import address, decode_writes
from checkpoints.saver.jsontext import decode_json
from checkpoints.saver.versions import next_version
from checkpoints.splicing.jsontext import is_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.statements import Row

EMPTY = "empty"  # the type of a blob that stands for no value


class Stored(NamedTuple):
    """A checkpoint as it is stored: its row, its blobs (channel, type, bytes), writes and migrated sends."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    checkpoint: str
    metadata: str
    blobs: list[Row]
    writes: list[Row]
    sends: list[Row]

    @property
    def size(self) -> int:
        """The bytes of the state and of what was written."""
        return len(self.checkpoint) + sum(len(row[-1] or b"") for row in (*self.blobs, *self.writes))


class Encoded(NamedTuple):
    """The rows of a checkpoint: one of `checkpoints`, and its blobs (channel, version, type, bytes)."""

    row: Row
    blobs: list[Row]


def decode(serde: SerializerProtocol, stored: Stored) -> CheckpointTuple:
    """Return the tuple that LangGraph reads."""
    thread_id, ns, checkpoint_id, parent_id, *_ = stored
    loads = loads_of(serde)
    checkpoint = decode_json(serde, stored.checkpoint)
    if isinstance(checkpoint, dict):  # a serializer for untrusted stores marks what is too deep
        _complete(checkpoint, stored, loads)
    return CheckpointTuple(
        address(thread_id, ns, checkpoint_id),
        checkpoint,
        decode_json(serde, stored.metadata),
        address(thread_id, ns, parent_id) if parent_id else None,
        decode_writes(loads, stored.writes),
    )


def _complete(checkpoint: dict[str, Any], stored: Stored, loads: Callable[[tuple[str, bytes]], Any]) -> None:
    """Give a checkpoint the values that its JSON lacks."""
    plain = checkpoint.get("channel_values") or {}
    if not isinstance(plain, dict):  # LangGraph has not written it
        return
    values = plain | {channel: loads((kind, blob)) for channel, kind, blob in stored.blobs}
    if stored.sends:
        # As they would be written now: a channel of its own, at the latest version.
        values[TASKS] = [loads((kind, blob)) for kind, blob in stored.sends]
        versions = checkpoint.setdefault("channel_versions", {})
        if isinstance(versions, dict):
            versions[TASKS] = _latest(versions.values())
    checkpoint["channel_values"] = values


def _latest(versions: Collection[Any]) -> Any:
    try:
        return max(versions)
    except (ValueError, TypeError):  # there are none, or LangGraph has not written them
        return next_version(None)


def encode(
    serde: SerializerProtocol,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
) -> Encoded:
    """Return the rows of a checkpoint. The config's checkpoint is the parent of this one."""
    configurable = config["configurable"]
    plain, others = split(checkpoint["channel_values"])
    blobs = [
        (channel, str(version), *serde.dumps_typed(others[channel]))
        for channel, version in new_versions.items()
        if channel in others
    ]
    row = (
        str(configurable["thread_id"]),
        configurable["checkpoint_ns"],
        checkpoint["id"],
        configurable.get("checkpoint_id"),
        Jsonb({**checkpoint, "channel_values": plain}),
        Jsonb(get_serializable_checkpoint_metadata(config, metadata)),
    )
    return Encoded(row, blobs)


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values that stand in the JSON, and those that are blobs."""
    plain: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for channel, value in values.items():
        if is_plain(value):
            plain[channel] = value
        else:
            others[channel] = value
            if isinstance(value, _DeltaSnapshot):
                plain[channel] = True
    return plain, others
