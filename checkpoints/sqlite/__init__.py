"""LangGraph's SQLite saver for synchronous code."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from checkpoints.sqlite import operations
from checkpoints.sqlite.codec import (
    address,
    channels_held,
    decode,
    decode_history,
    encode_checkpoint,
    encode_writes,
)
from checkpoints.sqlite.commits import Commits
from checkpoints.sqlite.driver import Operation, T, run
from checkpoints.sqlite.lineage import delta_history
from checkpoints.sqlite.listing import Listing
from checkpoints.sqlite.schema import prepare
from checkpoints.sqlite.sync_only import SyncOnly
from checkpoints.sqlite.versions import next_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
        DeltaChannelHistory,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol


class SqliteSaver(SyncOnly):
    """Saves checkpoints in a SQLite database, in the tables of `langgraph-checkpoint-sqlite`.

    Reading never writes: it creates no tables and migrates none; a database without them reads as empty.
    Threads may share a saver whose connection was opened with `check_same_thread=False`.
    """

    def __init__(self, conn: sqlite3.Connection, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self.jsonplus_serde = JsonPlusSerializer()
        self.conn = conn
        self.lock = threading.Lock()
        self.is_setup = False
        self._commits = Commits()

    @classmethod
    @contextmanager
    def from_conn_string(cls, conn_string: str) -> Iterator[Self]:
        """Open the database at a path (or `:memory:`) and close it when the block ends."""
        with closing(sqlite3.connect(conn_string, check_same_thread=False)) as conn:
            yield cls(conn)

    def setup(self) -> None:
        """Create the tables, or migrate those of an older release. The first write calls it."""
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

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what a channel's value is made of: what the nearest ancestor holds, the writes since.

        Parents are followed by their links, also where those loop. A channel that no ancestor holds has no
        `seed`: it starts empty.
        """
        if not channels:
            return {}
        holds = partial(channels_held, self.serde)
        return decode_history(self.serde, self._read(delta_history(config, channels, holds)))

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return a channel version after `current`."""
        return next_version(current)

    def _read(self, operation: Operation[T]) -> T:
        with self.lock:
            return run(self.conn, operation)

    def _write(self, operation: Callable[[], Operation[T]]) -> T:
        with self._commits.join(operation) as call, self.lock:
            while not call.done:
                self._prepare()
                self._commits.commit(self.conn)
        return call.result()

    def _prepare(self) -> None:
        if not self.is_setup:
            prepare(self.conn)
            self.is_setup = True
