"""The saver that a graph gets: ours, which tells of each checkpoint that it has stored."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from checkpoints.channels import ERROR, INTERRUPT, RESUME, SCHEDULED
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol
    from langgraph.pregel import Pregel

    from explorer.running.job import Job

    Report = Callable[[dict[str, Any]], None]


# What a task stores of how it went, which is no result of it.
CONTROL = frozenset({ERROR, INTERRUPT, RESUME, SCHEDULED, "__error_source_node__"})


@asynccontextmanager
async def saver(
    job: Job, serde: SerializerProtocol, report: Report, finished: set[str]
) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """Open the store of a job. It is there, or this fails.

    The ids of tasks that are seen to have `finished` before are added to that set: LangGraph may use what
    they have stored.
    """
    if job.conninfo:
        from checkpoints.postgres.aio import AsyncPostgresSaver

        async with AsyncPostgresSaver.from_conn_string(job.conninfo, serde=serde) as opened:
            yield _telling(opened, report, finished)
    else:
        async with aiosqlite.connect(f"file:{quote(job.path)}?mode=rw", uri=True) as conn:
            yield _telling(AsyncSqliteSaver(conn, serde=serde), report, finished)


class NoKey(Exception):
    """A thread that is encrypted, and no key."""


def serializer(graph: Pregel[Any, Any, Any, Any], *, encrypted: bool) -> SerializerProtocol:
    """Return that of the graph's own saver, else LangGraph's, for a thread that is encrypted or not.

    Raises NoKey.
    """
    if isinstance(graph.checkpointer, BaseCheckpointSaver):
        return graph.checkpointer.serde
    if not encrypted:
        return JsonPlusSerializer()
    if not os.environ.get("LANGGRAPH_AES_KEY"):
        raise NoKey("This thread is encrypted: set LANGGRAPH_AES_KEY for the graph, as its env file can.")
    return EncryptedSerializer.from_pycryptodome_aes()


def _telling(opened: Any, report: Report, finished: set[str]) -> BaseCheckpointSaver[Any]:
    """Make a saver tell of what it has stored, and of what it has read that had finished."""
    store, load = opened.aput, opened.aget_tuple

    async def aget_tuple(config: RunnableConfig) -> CheckpointTuple | None:
        found: CheckpointTuple | None = await load(config)
        if found is not None:
            finished.update(task for task, name, _ in found.pending_writes or () if name not in CONTROL)
        return found

    async def aput(
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        stored: RunnableConfig = await store(config, checkpoint, metadata, new_versions)
        given = config["configurable"]
        report(
            {
                "type": "checkpoint",
                "id": checkpoint["id"],
                "ns": given["checkpoint_ns"],
                "parent": given.get("checkpoint_id") or "",
                "step": metadata.get("step"),
                "source": metadata.get("source"),
            }
        )
        return stored

    opened.aput, opened.aget_tuple = aput, aget_tuple
    saver: BaseCheckpointSaver[Any] = opened
    return saver
