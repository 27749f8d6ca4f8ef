"""An asynchronous saver: LangGraph's methods on whatever tables a class has, and its synchronous side."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ParamSpec

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

P = ParamSpec("P")


class AsyncSaver(BaseCheckpointSaver[str]):
    """The asynchronous methods.

    The synchronous ones are for other threads than the event loop's; on that one they raise
    `asyncio.InvalidStateError`, where waiting would be for ever.
    """

    loop: asyncio.AbstractEventLoop

    @property
    @abstractmethod
    def _tables(self) -> Tables[Any]:
        """The tables, with the serializer that the saver has now."""

    @abstractmethod
    async def _read(self, operation: Operation[T]) -> T:
        """Run an operation that only reads."""

    @abstractmethod
    async def _write(self, operation: Callable[[], Operation[T]]) -> T:
        """Run an operation that writes with one statement, or as `_transact` does."""

    @abstractmethod
    async def _transact(self, operation: Callable[[], Operation[T]], *, one_moment: bool = True) -> T:
        """Run an operation in one transaction, which may be begun anew.

        All its statements see `one_moment` of the database, or each sees what others have committed by then.
        """

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that the config names; without an id, the head of the namespace."""
        tables = self._tables
        stored = await self._read(tables.get(config))
        return tables.decode(stored, config) if stored else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, greatest id first: of a namespace, a thread, or (None) the whole store.

        `filter` matches metadata: on SQLite with dots between levels, where a key that LangGraph does not
        allow raises ValueError; on PostgreSQL by containment. `before` names the id to stay below. Between
        tuples the loop may use the saver.
        """
        tables = self._tables
        listing = Listing(tables.search(config, filter, before), limit)
        while not listing.ended:
            for stored in await self._read(listing.page()):
                yield tables.decode(stored)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, whose parent the config names, and return the config that names it."""
        await self._write(self._tables.put(config, checkpoint, metadata, new_versions))
        configurable = config["configurable"]
        return address(configurable["thread_id"], configurable["checkpoint_ns"], checkpoint["id"])

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes (channel, value) of a task on the checkpoint that the config names."""
        await self._write(self._tables.put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all that is stored of a thread, in one transaction."""
        await self._write(partial(self._tables.delete_thread, str(thread_id)))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread, ids and bytes as they are; see `copy_thread` of the synchronous class."""
        copy = partial(self._tables.copy_thread, str(source_thread_id), str(target_thread_id))
        await self._transact(copy, one_moment=False)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete what the heads of these threads do not need, or all; see the synchronous class."""
        pruning.check(thread_ids, strategy)
        for thread_id in thread_ids:
            await self._transact(partial(pruning.prune, self._tables, str(thread_id), strategy))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of these runs, and their writes; see the synchronous class."""
        runs = self._tables.runs(run_ids)
        while not runs.ended:
            await self._read(runs.page())
        await self._transact(runs.delete)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what a channel's value is made of: what the nearest ancestor holds, the writes since.

        Parents are followed by their links, also where those loop. A channel that no ancestor holds has no
        `seed`: it starts empty.
        """
        if not channels:
            return {}
        tables = self._tables
        return tables.decode_history(await self._read(delta_history(tables, config, channels)))

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return a channel version after `current`."""
        return next_version(current)

    # The synchronous side: each method waits, on its own thread, for its asynchronous twin on the loop's.

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return what `aget_tuple` does."""
        return self._wait(self.aget_tuple, config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield what `alist` does; the loop reads a page at a time, this thread decodes it."""
        self._refuse_on_loop()
        if type(self).alist is not AsyncSaver.alist:  # somebody's own selects or hides something
            return self._iterate(self.alist(config, filter=filter, before=before, limit=limit))
        tables = self._tables
        return self._pages(tables, Listing(tables.search(config, filter, before), limit))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Do what `aput` does."""
        return self._wait(self.aput, config, checkpoint, metadata, new_versions)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Do what `aput_writes` does."""
        self._wait(self.aput_writes, config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """Do what `adelete_thread` does."""
        self._wait(self.adelete_thread, thread_id)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Do what `acopy_thread` does."""
        self._wait(self.acopy_thread, source_thread_id, target_thread_id)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Do what `aprune` does."""
        self._wait(self.aprune, thread_ids, strategy=strategy)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Do what `adelete_for_runs` does."""
        self._wait(self.adelete_for_runs, run_ids)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what `aget_delta_channel_history` does."""
        return self._wait(self.aget_delta_channel_history, config=config, channels=channels)

    def _pages(self, tables: Tables[Any], listing: Listing[Any]) -> Iterator[CheckpointTuple]:
        while not listing.ended:
            for stored in self._wait(self._read, listing.page()):
                yield tables.decode(stored)

    def _iterate(self, found: AsyncIterator[CheckpointTuple]) -> Iterator[CheckpointTuple]:
        while (one := self._wait(_next, found)) is not None:
            yield one

    def _wait(self, method: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        self._refuse_on_loop()
        return asyncio.run_coroutine_threadsafe(method(*args, **kwargs), self.loop).result()

    def _refuse_on_loop(self) -> None:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self.loop or not self.loop.is_running():
            raise asyncio.InvalidStateError(
                f"The synchronous methods of {type(self).__name__} are for other threads than its event "
                "loop's, while that loop runs. Here use the asynchronous ones: `await "
                "saver.aget_tuple(...)`, `saver.alist(...)`, `await graph.ainvoke(...)`."
            )


async def _next(found: AsyncIterator[CheckpointTuple]) -> CheckpointTuple | None:
    return await anext(found, None)
