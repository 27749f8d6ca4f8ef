"""The tables of a LangGraph PostgreSQL database, as its savers use them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from checkpoints.postgres import lineage, operations, pruning
from checkpoints.postgres.codec import Stored, decode, encode
from checkpoints.postgres.listing import PostgresSearch
from checkpoints.saver.addresses import encode_writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
        DeltaChannelHistory,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.saver.lineage import StoredHistory
    from checkpoints.statements import Operation


@dataclass(frozen=True, slots=True)
class PostgresTables:
    """`checkpoints.saver.tables.Tables` of PostgreSQL."""

    serde: SerializerProtocol

    get = staticmethod(operations.get)
    delete_thread = staticmethod(operations.delete_thread)
    copy_thread = staticmethod(operations.copy_thread)
    link = staticmethod(lineage.link)
    ancestors = staticmethod(lineage.ancestors)
    complete = staticmethod(lineage.complete)
    heads = staticmethod(pruning.heads)
    describe = staticmethod(pruning.describe)
    existing = staticmethod(pruning.existing)
    links = staticmethod(pruning.links)
    counted = staticmethod(pruning.counted)
    written = staticmethod(pruning.written)
    oldest_write = staticmethod(pruning.oldest_write)
    has_sends = staticmethod(pruning.has_sends)
    delete_checkpoints = staticmethod(pruning.delete_checkpoints)
    delete_namespaces = staticmethod(pruning.delete_namespaces)

    def decode(self, stored: Stored, config: RunnableConfig | None = None) -> CheckpointTuple:
        return decode(self.serde, stored)

    def search(
        self, config: RunnableConfig | None, filter: dict[str, Any] | None, before: RunnableConfig | None
    ) -> PostgresSearch:
        return PostgresSearch(config, filter, before)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Callable[[], Operation[None]]:
        encoded = encode(self.serde, config, checkpoint, metadata, new_versions)
        return partial(operations.put_checkpoint, encoded)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Callable[[], Operation[None]]:
        rows = encode_writes(self.serde, config, writes, task_id, task_path)
        return partial(operations.put_writes, rows)

    def runs(self, run_ids: Iterable[str]) -> pruning.RunSearch:
        return pruning.RunSearch(self, run_ids)

    def decode_history(self, histories: dict[str, StoredHistory]) -> dict[str, DeltaChannelHistory]:
        return lineage.decode_history(self.serde, histories)
