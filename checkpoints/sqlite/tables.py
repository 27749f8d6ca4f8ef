"""The two tables of a LangGraph SQLite file, as its savers use them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from checkpoints.saver.addresses import encode_writes
from checkpoints.sqlite import lineage, operations, pruning
from checkpoints.sqlite.codec import Stored, decode, decode_history, encode_checkpoint
from checkpoints.sqlite.listing import SqliteSearch
from checkpoints.sqlite.runs import RunSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
        DeltaChannelHistory,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.saver.lineage import Ancestors, StoredHistory
    from checkpoints.saver.tables import Described
    from checkpoints.statements import Operation, Row


@dataclass(frozen=True, slots=True)
class SqliteTables:
    """`checkpoints.saver.tables.Tables` of SQLite."""

    serde: SerializerProtocol

    get = staticmethod(operations.get)
    delete_thread = staticmethod(operations.delete_thread)
    copy_thread = staticmethod(operations.copy_thread)
    delete_checkpoints = staticmethod(operations.delete_checkpoints)
    links = staticmethod(operations.links)
    link = staticmethod(lineage.link)
    complete = staticmethod(lineage.complete)
    existing = staticmethod(pruning.existing)
    written = staticmethod(pruning.written)
    oldest_write = staticmethod(pruning.oldest_write)
    has_sends = staticmethod(pruning.has_sends)
    delete_namespaces = staticmethod(pruning.delete_namespaces)

    def decode(self, stored: Stored, config: RunnableConfig | None = None) -> CheckpointTuple:
        return decode(self.serde, stored, config)

    def search(
        self, config: RunnableConfig | None, filter: dict[str, Any] | None, before: RunnableConfig | None
    ) -> SqliteSearch:
        return SqliteSearch(config, filter, before)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Callable[[], Operation[None]]:
        return partial(operations.put_checkpoint, encode_checkpoint(self.serde, config, checkpoint, metadata))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Callable[[], Operation[None]]:
        rows = encode_writes(self.serde, config, writes, task_id, task_path)
        return partial(operations.put_writes, rows)

    def runs(self, run_ids: Iterable[str]) -> RunSearch:
        return RunSearch(self, run_ids)

    def ancestors(
        self, thread_id: str, checkpoint_ns: str, link: Row, channels: Collection[str]
    ) -> Ancestors:
        return lineage.ancestors(self.serde, thread_id, checkpoint_ns, link)

    def decode_history(self, histories: dict[str, StoredHistory]) -> dict[str, DeltaChannelHistory]:
        return decode_history(self.serde, histories)

    def heads(self, thread_id: str) -> Operation[list[Described]]:
        return pruning.heads(self.serde, thread_id)

    def describe(self, thread_id: str, checkpoint_ns: str, id: str) -> Operation[Described]:
        return pruning.describe(self.serde, thread_id, checkpoint_ns, id)

    def counted(self, thread_id: str) -> Operation[dict[str, set[str]]]:
        return pruning.counted(self.serde, thread_id)
