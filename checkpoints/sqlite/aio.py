"""LangGraph's SQLite saver for asyncio, on aiosqlite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from checkpoints.sqlite import operations, pruning
from checkpoints.sqlite.codec import (
    address,
    decode,
    decode_history,
    encode_checkpoint,
    encode_writes,
)
from checkpoints.sqlite.commits import Commits
from checkpoints.sqlite.driver import P, arun, on_thread
from checkpoints.sqlite.lineage import delta_history
from checkpoints.sqlite.listing import Listing
from checkpoints.sqlite.runs import RunSearch
from checkpoints.sqlite.schema import prepare
from checkpoints.sqlite.versions import next_version
from checkpoints.statements import Operation, T


class AsyncSqliteSaver(BaseCheckpointSaver[str]):
    """Saves checkpoints in a SQLite database, in the tables of `langgraph-checkpoint-sqlite`.

    Reading never writes: it creates no tables and migrates none; a database without them reads as empty, and
    a read-only connection will do. A call is one hop to the connection's thread, a listing one for
    each page.

    The synchronous methods are for other threads than the event loop's; on that one they raise
    `asyncio.InvalidStateError`, where waiting would be for ever.
    """

    conn: aiosqlite.Connection
    lock: asyncio.Lock
    is_setup: bool

    def __init__(self, conn: aiosqlite.Connection, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self.jsonplus_serde = JsonPlusSerializer()
        self.conn = conn
        self.lock = asyncio.Lock()
        self.loop = asyncio.get_running_loop()
        self.is_setup = False
        self._commits = Commits(conn)

    @classmethod
    @asynccontextmanager
    async def from_conn_string(cls, conn_string: str) -> AsyncIterator[Self]:
        """Open the database at a path (or `:memory:`) and close it when the block ends."""
        async with aiosqlite.connect(conn_string) as conn:
            yield cls(conn)

    async def setup(self) -> None:
        """Create the tables, or migrate those of an older release, as the first write does."""
        if not self.is_setup:
            async with self.lock:
                await self._prepare()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that the config names; without an id, the head of the namespace."""
        stored = await self._read(operations.get(config))
        return decode(self.serde, stored, config) if stored else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, greatest id first: of a namespace, a thread, or (None) the whole store.

        `filter` matches metadata, with dots between levels; `before` names the id to stay below. The lock is
        free between tuples, so the loop may use the saver. Raises ValueError for a filter key that
        LangGraph does not allow.
        """
        listing = Listing(config, filter, before, limit)
        while not listing.ended:
            for stored in await self._read(listing.page()):
                yield decode(self.serde, stored)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, whose parent the config names, and return the config that names it."""
        row = encode_checkpoint(self.serde, config, checkpoint, metadata)
        await self._write(partial(operations.put_checkpoint, row))
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
        rows = encode_writes(self.serde, config, writes, task_id, task_path)
        await self._write(partial(operations.put_writes, rows))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints and writes of a thread, in one transaction."""
        await self._write(partial(operations.delete_thread, str(thread_id)))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread, ids and bytes as they are; see `SqliteSaver.copy_thread`."""
        await self._write(partial(operations.copy_thread, str(source_thread_id), str(target_thread_id)))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete what the heads of these threads do not need, or all; see `SqliteSaver.prune`."""
        pruning.check(thread_ids, strategy)
        for thread_id in thread_ids:
            await self._write(partial(pruning.prune, self.serde, str(thread_id), strategy))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of these runs, and their writes; see `SqliteSaver.delete_for_runs`."""
        search = RunSearch(self.serde, run_ids)
        while not search.ended:
            await self._read(search.page())
        await self._write(search.delete)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what a channel's value is made of: what the nearest ancestor holds, the writes since.

        Parents are followed by their links, also where those loop. A channel that no ancestor holds has no
        `seed`: it starts empty.
        """
        if not channels:
            return {}
        return decode_history(self.serde, await self._read(delta_history(self.serde, config, channels)))

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return a channel version after `current`."""
        return next_version(current)

    async def _read(self, operation: Operation[T]) -> T:
        async with self.lock:
            return await arun(self.conn, operation)

    async def _write(self, operation: Callable[[], Operation[T]]) -> T:
        conn, commit = self.conn, self._commits.commit
        with self._commits.join(operation, conn) as call:
            async with self.lock:
                while not call.done:
                    self.is_setup = await on_thread(conn, commit, conn, prepared=self.is_setup)
        return call.result()

    async def _prepare(self) -> None:
        if not self.is_setup:
            await on_thread(self.conn, prepare)
            self.is_setup = True

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
        if type(self).alist is not AsyncSqliteSaver.alist:  # somebody's own selects or hides something
            return self._iterate(self.alist(config, filter=filter, before=before, limit=limit))
        return self._pages(Listing(config, filter, before, limit))

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

    def _pages(self, listing: Listing) -> Iterator[CheckpointTuple]:
        while not listing.ended:
            for stored in self._wait(self._read, listing.page()):
                yield decode(self.serde, stored)

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
                "The synchronous methods of AsyncSqliteSaver are for other threads than its event loop's, "
                "while that loop runs. Here use the asynchronous ones: `await saver.aget_tuple(...)`, "
                "`saver.alist(...)`, `await graph.ainvoke(...)`."
            )


async def _next(found: AsyncIterator[CheckpointTuple]) -> CheckpointTuple | None:
    return await anext(found, None)
