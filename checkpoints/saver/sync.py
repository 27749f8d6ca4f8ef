"""A synchronous saver: LangGraph's methods on whatever tables a class has."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from checkpoints.saver import pruning
from checkpoints.saver.addresses import address
from checkpoints.saver.lineage import delta_history
from checkpoints.saver.listing import Listing
from checkpoints.saver.tables import Tables
from checkpoints.saver.versions import next_version
from checkpoints.statements import Operation, T


class SyncSaver(BaseCheckpointSaver[str]):
    """The synchronous methods. The asynchronous ones say which class has them, with NotImplementedError."""

    ASYNCHRONOUS: ClassVar[str]  # the import of that class

    @property
    @abstractmethod
    def _tables(self) -> Tables[Any]:
        """The tables, with the serializer that the saver has now."""

    @abstractmethod
    def _read(self, operation: Operation[T]) -> T:
        """Run an operation that only reads."""

    @abstractmethod
    def _write(self, operation: Callable[[], Operation[T]]) -> T:
        """Run an operation that writes with one statement, or as `_transact` does."""

    @abstractmethod
    def _transact(self, operation: Callable[[], Operation[T]], *, one_moment: bool = True) -> T:
        """Run an operation in one transaction, which may be begun anew.

        All its statements see `one_moment` of the database, or each sees what others have committed by then.
        """

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that the config names; without an id, the head of the namespace."""
        tables = self._tables
        stored = self._read(tables.get(config))
        return tables.decode(stored, config) if stored else None

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, greatest id first: of a namespace, a thread, or (None) the whole store.

        `filter` matches metadata: on SQLite with dots between levels, where a key that LangGraph does not
        allow raises ValueError; on PostgreSQL by containment. `before` names the id to stay below. Between
        tuples the loop may use the saver.
        """
        tables = self._tables
        listing = Listing(tables.search(config, filter, before), limit)
        while not listing.ended:
            for stored in self._read(listing.page()):
                yield tables.decode(stored)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, whose parent the config names, and return the config that names it."""
        self._write(self._tables.put(config, checkpoint, metadata, new_versions))
        configurable = config["configurable"]
        return address(configurable["thread_id"], configurable["checkpoint_ns"], checkpoint["id"])

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes (channel, value) of a task on the checkpoint that the config names."""
        self._write(self._tables.put_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """Delete all that is stored of a thread, in one transaction."""
        self._write(partial(self._tables.delete_thread, str(thread_id)))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all that is stored of a thread, ids and bytes as they are, in one transaction.

        Raises `checkpoints.errors.ThreadNotFound`, or `ThreadExists` when the target has rows already.
        """
        copy = partial(self._tables.copy_thread, str(source_thread_id), str(target_thread_id))
        self._transact(copy, one_moment=False)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete what the newest checkpoints of these threads do not need (`keep_latest`), or all (`delete`).

        `keep_latest` keeps of each namespace the checkpoint with the greatest id and its writes, and nothing
        of calls of subgraphs that the thread has gone past. Where a DeltaChannel was last stored whole in an
        ancestor, it keeps the chain up to that one, which can be all of a branch. What is kept stays byte for
        byte, only a parent that goes is no longer named. Other branches and older states are gone: nothing
        can be replayed from them.

        Each thread has its own transaction: those before one that fails stay pruned. Raises ValueError for
        another strategy, TypeError for one string in place of a list.
        """
        pruning.check(thread_ids, strategy)
        for thread_id in thread_ids:
            self._transact(partial(pruning.prune, self._tables, str(thread_id), strategy))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that have one of these `run_id`s in their metadata, and their writes.

        One transaction, after a search that reads all metadata of the store. What a run wrote to a checkpoint
        of another, as an answer to its interrupt, has no run id and stays.

        LangGraph stores a `run_id` that stands in the config's `metadata` or `configurable`. A checkpoint
        whose parent goes is left with none.

        Raises `checkpoints.errors.HistoryNeeded`, and deletes nothing, when a DeltaChannel of a checkpoint
        that stays takes its value from what would go; TypeError for one string in place of a list.
        """
        runs = self._tables.runs(run_ids)
        while not runs.ended:
            self._read(runs.page())
        self._transact(runs.delete)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what a channel's value is made of: what the nearest ancestor holds, the writes since.

        Parents are followed by their links, also where those loop. A channel that no ancestor holds has no
        `seed`: it starts empty.
        """
        if not channels:
            return {}
        tables = self._tables
        return tables.decode_history(self._read(delta_history(tables, config, channels)))

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return a channel version after `current`."""
        return next_version(current)

    @property
    def _elsewhere(self) -> NotImplementedError:
        asynchronous = self.ASYNCHRONOUS.rpartition(" ")[2]
        return NotImplementedError(
            f"{type(self).__name__} has no asynchronous methods. Use {asynchronous}: {self.ASYNCHRONOUS}"
        )

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        raise self._elsewhere

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        raise self._elsewhere
        yield  # makes it an asynchronous iterator

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        raise self._elsewhere

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        raise self._elsewhere

    async def adelete_thread(self, thread_id: str) -> None:
        raise self._elsewhere

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        raise self._elsewhere

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        raise self._elsewhere

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        raise self._elsewhere

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        raise self._elsewhere
