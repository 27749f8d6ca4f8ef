"""Between rows and LangGraph's objects: what the columns hold, and in which form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.sqlite.driver import Row


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


def decode(
    serde: SerializerProtocol, stored: Stored, config: RunnableConfig | None = None
) -> CheckpointTuple:
    """Return the tuple that LangGraph reads. A config that named this checkpoint is handed back in it."""
    thread_id, ns, parent_id = stored.thread_id, stored.checkpoint_ns, stored.parent_checkpoint_id
    return CheckpointTuple(
        config if config and get_checkpoint_id(config) else address(thread_id, ns, stored.checkpoint_id),
        serde.loads_typed((stored.type, stored.checkpoint)),
        _decode_metadata(serde, stored.metadata),
        address(thread_id, ns, parent_id) if parent_id else None,
        [(task, channel, serde.loads_typed((type_, value))) for task, channel, type_, value in stored.writes],
    )


def _decode_metadata(serde: SerializerProtocol, raw: bytes | str | None) -> CheckpointMetadata:
    # A serializer made for untrusted files reads metadata itself. It may sit inside LangGraph's wrappers
    # (the encrypting one, the one for untyped serializers), which both call it `serde`.
    layer: Any = serde
    while layer is not None:
        if loads := getattr(layer, "loads_metadata", None):
            return cast("CheckpointMetadata", loads(raw))
        layer = getattr(layer, "serde", None)
    return cast("CheckpointMetadata", {} if raw is None else json.loads(raw))


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


def encode_writes(
    serde: SerializerProtocol,
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
) -> list[Row]:
    """Return the rows of `writes`. Special channels (errors, interrupts, …) have fixed negative indexes."""
    key = tuple(str(config["configurable"][name]) for name in ("thread_id", "checkpoint_ns", "checkpoint_id"))
    return [
        (*key, task_id, task_path, WRITES_IDX_MAP.get(channel, idx), channel, *serde.dumps_typed(value))
        for idx, (channel, value) in enumerate(writes)
    ]


def address(thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    """Return the config that names one checkpoint."""
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint_id,
        }
    }
