"""LangGraph's SQLite saver for synchronous code."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
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
from checkpoints.sqlite.driver import run
from checkpoints.sqlite.lineage import delta_history
from checkpoints.sqlite.listing import Listing
from checkpoints.sqlite.runs import RunSearch
from checkpoints.sqlite.schema import prepare
from checkpoints.sqlite.sync_only import SyncOnly
from checkpoints.sqlite.versions import next_version
from checkpoints.statements import Operation, T


class SqliteSaver(SyncOnly):
    """Saves checkpoints in a SQLite database, in the tables of `langgraph-checkpoint-sqlite`.

    Reading never writes: it creates no tables and migrates none; a database without them reads as empty.
    Threads may share a saver whose connection was opened with `check_same_thread=False`.
    """

    conn: sqlite3.Connection
    is_setup: bool

    def __init__(self, conn: sqlite3.Connection, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self.jsonplus_serde = JsonPlusSerializer()
        self.conn = conn
        self._commits = Commits.of(conn)
        self.lock = self._commits.lock
        self.is_setup = False

    @classmethod
    @contextmanager
    def from_conn_string(cls, conn_string: str) -> Iterator[Self]:
        """Open the database at a path (or `:memory:`) and close it when the block ends."""
        with closing(sqlite3.connect(conn_string, check_same_thread=False)) as conn:
            yield cls(conn)

    def setup(self) -> None:
        """Create the tables, or migrate those of an older release, as the first write does."""
        if not self.is_setup:
            with self.lock:
                self._prepare()

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """Lend a cursor under the saver's lock.

        With `transaction` the tables exist, and what the block did is committed, or rolled back on an error.
        """
        with self.lock, closing(self.conn.cursor()) as cursor:
            if not transaction:
                yield cursor
                return
            self._prepare()
            try:
                yield cursor
                self.conn.commit()
            except BaseException:
                self.conn.rollback()
                raise

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that the config names; without an id, the head of the namespace."""
        stored = self._read(operations.get(config))
        return decode(self.serde, stored, config) if stored else None

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, greatest id first: of a namespace, a thread, or (None) the whole store.

        `filter` matches metadata, with dots between levels; `before` names the id to stay below. The lock is
        free between tuples, so the loop may use the saver. Raises ValueError for a filter key that
        LangGraph does not allow.
        """
        listing = Listing(config, filter, before, limit)
        while not listing.ended:
            for stored in self._read(listing.page()):
                yield decode(self.serde, stored)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, whose parent the config names, and return the config that names it."""
        row = encode_checkpoint(self.serde, config, checkpoint, metadata)
        self._write(partial(operations.put_checkpoint, row))
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
        rows = encode_writes(self.serde, config, writes, task_id, task_path)
        self._write(partial(operations.put_writes, rows))

    def delete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints and writes of a thread, in one transaction."""
        self._write(partial(operations.delete_thread, str(thread_id)))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of a thread, ids and bytes as they are, in one transaction.

        Raises `checkpoints.errors.ThreadNotFound`, or `ThreadExists` when the target has rows already.
        """
        self._write(partial(operations.copy_thread, str(source_thread_id), str(target_thread_id)))

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
            self._write(partial(pruning.prune, self.serde, str(thread_id), strategy))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that have one of these `run_id`s in their metadata, and their writes.

        One transaction, after a search that reads all metadata of the store. What a run wrote to a checkpoint
        of another, as an answer to its interrupt, has no run id and stays.

        LangGraph stores a `run_id` that stands in the config's `metadata` or `configurable`. A checkpoint
        whose parent goes is left with none.

        Raises `checkpoints.errors.HistoryNeeded`, and deletes nothing, when a DeltaChannel of a checkpoint
        that stays takes its value from what would go; TypeError for one string in place of a list.
        """
        search = RunSearch(self.serde, run_ids)
        while not search.ended:
            self._read(search.page())
        self._write(search.delete)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what a channel's value is made of: what the nearest ancestor holds, the writes since.

        Parents are followed by their links, also where those loop. A channel that no ancestor holds has no
        `seed`: it starts empty.
        """
        if not channels:
            return {}
        return decode_history(self.serde, self._read(delta_history(self.serde, config, channels)))

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return a channel version after `current`."""
        return next_version(current)

    def _read(self, operation: Operation[T]) -> T:
        with self.lock:
            return run(self.conn, operation)

    def _write(self, operation: Callable[[], Operation[T]]) -> T:
        conn = self.conn
        with self._commits.join(operation, conn) as call, self.lock:
            while not call.done:
                self.is_setup = self._commits.commit(conn, conn, prepared=self.is_setup)
        return call.result()

    def _prepare(self) -> None:
        if not self.is_setup:
            prepare(self.conn)
            self.is_setup = True
