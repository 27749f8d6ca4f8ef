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
from checkpoints.saver.aio import AsyncSaver
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


class _Telling(AsyncSaver):
    """A saver that tells of what it has stored, and of what it has read that had finished.

    A class, not methods of one object: LangGraph copies savers to give them another serializer.
    """

    report: Report
    finished: set[str]

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = await super().aget_tuple(config)
        if found is not None:
            done = (task for task, name, _ in found.pending_writes or () if name not in CONTROL)
            self.finished.update(done)
        return found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        stored = await super().aput(config, checkpoint, metadata, new_versions)
        given = config["configurable"]
        self.report(
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


class _TellingSqliteSaver(_Telling, AsyncSqliteSaver):
    pass


@asynccontextmanager
async def saver(
    job: Job, serde: SerializerProtocol, report: Report, finished: set[str]
) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """Open the store of a job. It is there, or this fails.

    The ids of tasks that are seen to have `finished` before are added to that set: LangGraph may use what
    they have stored.
    """
    async with _opened(job, serde) as opened:
        opened.report, opened.finished = report, finished
        yield opened


@asynccontextmanager
async def _opened(job: Job, serde: SerializerProtocol) -> AsyncIterator[_Telling]:
    if not job.conninfo:
        async with aiosqlite.connect(f"file:{quote(job.path)}?mode=rw", uri=True) as conn:
            yield _TellingSqliteSaver(conn, serde=serde)
        return
    from checkpoints.postgres.aio import AsyncPostgresSaver  # its driver is optional

    class _TellingPostgresSaver(_Telling, AsyncPostgresSaver):
        pass

    async with _TellingPostgresSaver.from_conn_string(job.conninfo, serde=serde) as saver:
        yield saver


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
