"""Between rows and LangGraph's objects: what the columns hold, and in which form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import ormsgpack
from langgraph.checkpoint.base import CheckpointTuple, get_checkpoint_id, get_checkpoint_metadata

from checkpoints.revival import is_official, loads_of
from checkpoints.saver.addresses import address, decode_writes
from checkpoints.saver.jsontext import decode_json

if TYPE_CHECKING:
    from collections.abc import Collection

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        Checkpoint,
        CheckpointMetadata,
        DeltaChannelHistory,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.saver.lineage import StoredHistory
    from checkpoints.statements import Row


class Stored(NamedTuple):
    """A checkpoint as it is stored: its row, and its writes (task, channel, type, value) in their order."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    type: str
    checkpoint: bytes
    metadata: bytes | str | None
    writes: list[Row]

    @property
    def size(self) -> int:
        """The bytes of the state and of what was written."""
        size = len(self.checkpoint or b"")
        for *_, value in self.writes:
            size += len(value or b"")
        return size


def decode(
    serde: SerializerProtocol, stored: Stored, config: RunnableConfig | None = None
) -> CheckpointTuple:
    """Return the tuple that LangGraph reads. A config that named this checkpoint is handed back in it."""
    thread_id, ns, checkpoint_id, parent_id, type_, checkpoint, metadata, writes = stored
    loads = loads_of(serde)
    return CheckpointTuple(
        config if config and get_checkpoint_id(config) else address(thread_id, ns, checkpoint_id),
        loads((type_, checkpoint)),
        decode_json(serde, metadata),
        address(thread_id, ns, parent_id) if parent_id else None,
        decode_writes(loads, writes),
    )


def skim(serde: SerializerProtocol, type: str, blob: bytes) -> dict[str, Any]:
    """Decode a checkpoint for the names in it. Objects may stay closed: opening them is most of the work."""
    # LangGraph's own serializer is known to write what it calls msgpack; somebody else's may mean anything.
    if type == "msgpack" and is_official(serde):
        skimmed = ormsgpack.unpackb(blob, ext_hook=_leave_closed, option=ormsgpack.OPT_NON_STR_KEYS)
    else:
        skimmed = serde.loads_typed((type, blob))
    return skimmed if isinstance(skimmed, dict) else {}


def _leave_closed(code: int, data: bytes) -> None:
    pass


def channels_held(serde: SerializerProtocol, type: str, blob: bytes) -> Collection[str]:
    """Return the names of the channels whose value a stored checkpoint holds."""
    values = skim(serde, type, blob).get("channel_values")
    return values.keys() if isinstance(values, dict) else ()


def decode_history(
    serde: SerializerProtocol, stored: dict[str, StoredHistory]
) -> dict[str, DeltaChannelHistory]:
    """Return what LangGraph replays: per channel the writes, oldest first, and the value they start from."""
    seeds = {history.seed.checkpoint_id: history.seed for history in stored.values() if history.seed}
    loads = loads_of(serde)
    states = {id: loads((seed.type, seed.checkpoint)) for id, seed in seeds.items()}
    found: dict[str, DeltaChannelHistory] = {}
    for channel, history in stored.items():
        found[channel] = {"writes": decode_writes(loads, history.writes)}
        if history.seed:
            found[channel]["seed"] = states[history.seed.checkpoint_id]["channel_values"][channel]
    return found


def encode_checkpoint(
    serde: SerializerProtocol, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
) -> Row:
    """Return the row of `checkpoints`. The config's checkpoint is the parent of this one."""
    configurable = config["configurable"]
    described = json.dumps(get_checkpoint_metadata(config, metadata), ensure_ascii=False)
    return (
        str(configurable["thread_id"]),
        configurable["checkpoint_ns"],
        checkpoint["id"],
        configurable.get("checkpoint_id"),
        *serde.dumps_typed(checkpoint),
        described.encode("utf-8", "ignore"),
    )
