"""What a graph is, for those who choose one: its nodes, or why it cannot be imported."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from explorer.graphs.loading import loaded
from explorer.running.run import failure

if TYPE_CHECKING:
    from explorer.graphs.sources import GraphSource


async def described(source: GraphSource) -> dict[str, Any]:
    """Import the graph, and tell of it without running it, or of whatever its module raises."""
    told: dict[str, Any] | BaseException
    (told,) = await asyncio.gather(_described(source), return_exceptions=True)
    return told if isinstance(told, dict) else problem(told)


def problem(error: BaseException) -> dict[str, Any]:
    """Tell of what a module raises when it is imported."""
    failed = failure(error)
    return {"problem": failed["error"], "traceback": failed["traceback"]}


async def _described(source: GraphSource) -> dict[str, Any]:
    async with loaded(source, {"configurable": {}}) as graph:
        nodes = [name for name in graph.nodes if name != "__start__"]
        return {"nodes": nodes, "langgraph": version("langgraph")}
