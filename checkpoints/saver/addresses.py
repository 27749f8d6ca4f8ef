"""Configs: how LangGraph names a checkpoint, and what of one goes into every database's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import WRITES_IDX_MAP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import PendingWrite
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.statements import Row


def address(thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    """Return the config that names one checkpoint."""
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint_id,
        }
    }


def place(config: RunnableConfig) -> tuple[str, str]:
    """Return the thread and the namespace that a config names."""
    configurable = config["configurable"]
    return str(configurable["thread_id"]), configurable.get("checkpoint_ns", "")


def encode_writes(
    serde: SerializerProtocol,
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
) -> list[Row]:
    """Return the rows of a task's writes: key, task, path, index, channel, type and value.

    Special channels (errors, interrupts, …) have fixed negative indexes.
    """
    key = tuple(str(config["configurable"][name]) for name in ("thread_id", "checkpoint_ns", "checkpoint_id"))
    return [
        (*key, task_id, task_path, WRITES_IDX_MAP.get(channel, idx), channel, *serde.dumps_typed(value))
        for idx, (channel, value) in enumerate(writes)
    ]


def decode_writes(loads: Callable[[tuple[str, bytes]], Any], writes: Iterable[Row]) -> list[PendingWrite]:
    """Return the pending writes (task, channel, value) of stored ones."""
    return [(task, channel, loads((type_, value))) for task, channel, type_, value in writes]
