"""Checkpoint ids: version 6 UUIDs, whose text sorts by their time."""

from __future__ import annotations

import random
import time
from uuid import UUID

from checkpoints.errors import ForkRefused

TICKS = 10_000_000  # in a second
EPOCH = 0x01B21DD213814000  # ticks from 1582-10-15 to 1970-01-01
LAST = (1 << 60) - 1
SKEW = 300  # seconds by which the clock of an agent may be behind this one


def following(head: str | None, step: int) -> str:
    """Return an id that is after the head of its namespace, else no invoke would continue from it.

    Its time is a little past, or right after the head's: what an agent stores next must come after it, also
    where the agent's clock is behind. Raises ForkRefused where no id comes after the head's.
    """
    ticks = time.time_ns() // 100 + EPOCH - SKEW * TICKS
    if head is not None and (last := ticks_of(head)) is not None:
        ticks = max(ticks, last + 1)
    if ticks <= LAST:
        id = _id(ticks, step)
        if head is None or id > head:
            return id
    raise ForkRefused(
        f"The newest checkpoint has the id {head!r}, which no id of LangGraph's comes after.",
        advice="Fork it into a new thread instead.",
    )


def ticks_of(id: str) -> int | None:
    """Return the time inside an id, in 100 ns since 1582-10-15; None where it is no version 6 UUID."""
    try:
        number = UUID(id)
    except ValueError:
        return None
    bits = number.int
    if number.version != 6:
        return None
    return (bits >> 96) << 28 | ((bits >> 80) & 0xFFFF) << 12 | ((bits >> 64) & 0xFFF)


def _id(ticks: int, step: int) -> str:
    high, low = ticks >> 12, ticks & 0xFFF
    rest = 0b10 << 62 | (step & 0x3FFF) << 48 | random.getrandbits(48)
    return str(UUID(int=high << 80 | 6 << 76 | low << 64 | rest))
