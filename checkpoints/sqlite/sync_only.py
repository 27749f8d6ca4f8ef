"""The asynchronous methods of a synchronous saver: each says which class has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

MESSAGE = (
    "SqliteSaver has no asynchronous methods. Use AsyncSqliteSaver: "
    "from checkpoints.sqlite.aio import AsyncSqliteSaver"
)


class SyncOnly(BaseCheckpointSaver[str]):
    """Refuses every asynchronous method with NotImplementedError."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        raise NotImplementedError(MESSAGE)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        raise NotImplementedError(MESSAGE)
        yield  # makes it an asynchronous iterator

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        raise NotImplementedError(MESSAGE)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        raise NotImplementedError(MESSAGE)

    async def adelete_thread(self, thread_id: str) -> None:
        raise NotImplementedError(MESSAGE)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        raise NotImplementedError(MESSAGE)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        raise NotImplementedError(MESSAGE)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        raise NotImplementedError(MESSAGE)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        raise NotImplementedError(MESSAGE)
