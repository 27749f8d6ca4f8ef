"""Running a graph from a checkpoint, and how it ended."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import aclosing, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from langgraph.errors import GraphRecursionError
from langgraph.types import Command

from explorer.graphs.loading import NoGraph, loaded
from explorer.running.progress import MODES, Progress
from explorer.running.savers import NoKey, saver, serializer
from explorer.running.wording import clipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.pregel import Pregel

    from explorer.running.job import Job

    Event = dict[str, Any]

TRACEBACK = 40_000  # characters
MOVED = (
    "The thread has moved on since this was asked: another checkpoint is its head now. Ask again from there."
)
GONE = "The checkpoint is not in the store any more."


class Stop:
    """A request to stop, which comes from another thread than the event loop's."""

    def __init__(self) -> None:
        self.asked = False
        self.control: Any = None
        with suppress(ImportError):  # LangGraph before 1.2
            from langgraph.runtime import RunControl

            self.control = RunControl()

    def ask(self) -> None:
        """Stop before the next superstep."""
        self.asked = True
        if self.control is not None:
            self.control.request_drain("cancelled")

    @property
    def options(self) -> dict[str, Any]:
        """What the stream of a graph is given so that it obeys."""
        return {} if self.control is None else {"control": self.control}


async def run(job: Job, report: Callable[[Event], None], stop: Stop) -> Event:
    """Run the job and return the event that says how it ended, whatever the graph raises."""
    (outcome,) = await asyncio.gather(_run(job, report, stop), return_exceptions=True)
    match outcome:
        case dict():
            return outcome
        case GraphRecursionError():
            error = f"The step limit of {job.step_limit} was reached. Ask again with a higher one."
            return {"type": "ended", "state": "failed", "error": error}
        case BaseException() if stop.asked and type(outcome).__name__ == "GraphDrained":
            return {"type": "ended", "state": "cancelled"}
    return failure(outcome)


async def _run(job: Job, report: Callable[[Event], None], stop: Stop) -> Event:
    made: list[Event] = []

    def tell(event: Event) -> None:
        if event["type"] == "checkpoint":
            made.append(event)
        report(event)

    async with loaded(job.graph, job.config) as graph:
        tell({"type": "loaded", "langgraph": version("langgraph")})
        finished: set[str] = set()
        async with saver(job, serializer(graph, encrypted=job.encrypted), tell, finished) as opened:
            if problem := await _problem(job, opened):
                return {"type": "ended", "state": "failed", "error": problem}
            bound = _bound(graph, opened)
            # In the past LangGraph runs all of a step again.
            progress = Progress(finished if job.head else ())
            await _stream(bound, job, progress, tell, stop)
            return await _end(bound, job, made, stop)


def failure(error: BaseException) -> Event:
    """Tell of an exception: what it says, and where it came from."""
    frames = "".join(traceback.format_exception(error))
    told = "".join(traceback.format_exception_only(error)).strip()
    said = str(error) if isinstance(error, NoGraph | NoKey) else told
    return {
        "type": "ended",
        "state": "failed",
        "error": clipped(said, 4_000),
        # The end of it is nearest to the mistake.
        "traceback": clipped(frames, TRACEBACK) if len(frames) <= TRACEBACK else _tail(frames),
    }


def _tail(frames: str) -> str:
    return "…\n" + clipped(frames[-TRACEBACK:], TRACEBACK)


def _bound(graph: Pregel[Any, Any, Any, Any], opened: BaseCheckpointSaver[Any]) -> Pregel[Any, Any, Any, Any]:
    """Return the graph with our saver in the place of its own."""
    if allowed := getattr(graph, "_serde_allowlist", None):
        opened = opened.with_allowlist(allowed)
    return graph.copy(update={"checkpointer": opened})


async def _problem(job: Job, opened: BaseCheckpointSaver[Any]) -> str:
    """Say why the job cannot be done as it was asked."""
    configurable = {"thread_id": job.thread_id, "checkpoint_ns": job.checkpoint_ns}
    if not job.head:
        configurable["checkpoint_id"] = job.checkpoint_id
    found = await opened.aget_tuple({"configurable": configurable})
    if found is None:
        return GONE
    return MOVED if job.head and found.checkpoint["id"] != job.head else ""


async def _stream(
    graph: Pregel[Any, Any, Any, Any],
    job: Job,
    progress: Progress,
    report: Callable[[Event], None],
    stop: Stop,
) -> None:
    options: dict[str, Any] = dict(stop.options)
    if job.context is not None:
        options["context"] = job.context
    config: Any = job.config
    # Nothing is told that is not stored yet.
    parts: Any = graph.astream(
        _given(job), config, stream_mode=MODES, subgraphs=True, durability="sync", **options
    )
    async with aclosing(parts):
        async for namespace, mode, data in parts:
            for event in progress.events(namespace, mode, data):
                report(event)


def _given(job: Job) -> Any:
    match job.kind:
        case "input":
            return job.input
        case "resume" if list(job.answers) == [""]:
            return Command(resume=job.answers[""])
        case "resume":
            return Command(resume=dict(job.answers))
    return None


async def _end(graph: Pregel[Any, Any, Any, Any], job: Job, made: list[Event], stop: Stop) -> Event:
    """Tell whether the graph has come to its end, or waits."""
    newest = next((event["id"] for event in reversed(made) if event["ns"] == ""), "")
    configurable = {"thread_id": job.thread_id, "checkpoint_ns": ""}
    if newest:
        configurable["checkpoint_id"] = newest
    state = await graph.aget_state({"configurable": configurable})
    if stop.asked and state.next and not state.interrupts:
        return {"type": "ended", "state": "cancelled"}
    return {
        "type": "ended",
        "state": "interrupted" if state.next else "succeeded",
        "next": list(state.next)[:20],
        "interrupts": len(state.interrupts),
    }
