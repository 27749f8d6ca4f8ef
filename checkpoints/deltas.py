"""The value of a DeltaChannel, which most checkpoints do not hold: a snapshot and the writes since."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoints.errors import ReadTimeout
from checkpoints.inert import DeltaSnapshot, Extension

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver

ANCESTORS = 1_000
SECONDS = 5


@dataclass(frozen=True, slots=True)
class Given:
    """What a DeltaChannel's reducer was given, oldest first: a snapshot's value, if any, and writes since.

    It is not `whole` where the visit of the ancestors ended before one that has a snapshot or no parent.
    """

    values: list[Any]
    whole: bool


async def delta_items(saver: BaseCheckpointSaver[Any], config: RunnableConfig, channel: str) -> list[Any]:
    """List what LangGraph's reducer makes the channel's value of, oldest first, lists taken apart.

    At most `ANCESTORS` are visited; parent links may loop. The reducer itself belongs to the graph.
    """
    given = (await delta_values(saver, config, [channel]))[channel]
    return [item for value in given.values for item in (value if isinstance(value, list) else [value])]


async def delta_values(
    saver: BaseCheckpointSaver[Any], config: RunnableConfig, channels: Iterable[str]
) -> dict[str, Given]:
    """Collect what the values of DeltaChannels are made of, in one visit. Raises ReadTimeout."""
    deadline = time.monotonic() + SECONDS
    at = await saver.aget_tuple(config)
    seen: set[str] = set()
    found: dict[str, list[Any]] = {channel: [] for channel in channels}
    unfinished = set(found)
    while at and unfinished and len(seen) < ANCESTORS:
        if not at.parent_config:
            unfinished.clear()
            break
        id = at.parent_config["configurable"]["checkpoint_id"]
        if id in seen:
            break
        if time.monotonic() > deadline:
            raise ReadTimeout(f"The ancestors were read for more than {SECONDS} seconds.")
        seen.add(id)
        at = await saver.aget_tuple(at.parent_config)
        if at is None or not isinstance(at.checkpoint, dict):
            break
        values = at.checkpoint.get("channel_values")
        for channel in sorted(unfinished):
            found[channel] += reversed(
                [value for _, name, value in at.pending_writes or () if name == channel]
            )
            if isinstance(values, dict) and channel in values:
                found[channel].append(_snapshot(values[channel]))
                unfinished.remove(channel)
    return {channel: Given(values[::-1], channel not in unfinished) for channel, values in found.items()}


def _snapshot(value: Any) -> Any:
    seen = value.open() if isinstance(value, Extension) else None
    return seen.value if isinstance(seen, DeltaSnapshot) else value
