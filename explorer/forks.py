"""Forks in words: why and by whom, what is written, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checkpoints.outline import brief
from checkpoints.snapshot import id_time
from checkpoints.stores.siblings import AUTHOR, REASON, REPLAY, REPLAY_AUTHOR, REPLAY_REASON
from explorer.bounds import TASKS, first, listed
from explorer.tasks import counted
from explorer.wording import ago, count, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checkpoints.outlook import Outlook
    from checkpoints.stores.records import Size

TABLES = {
    "checkpoints": "checkpoint",
    "writes": "pending write",
    "checkpoint_writes": "pending write",
    "checkpoint_blobs": "value",
}
NAMESPACES_NAMED = 12
BUSY_SECONDS = 60


def note(metadata: Mapping[str, Any]) -> str:
    """Return the reason of a fork, or of a replay, and who made it: `“wrong order” · ana`."""
    keys = (REPLAY_REASON, REPLAY_AUTHOR) if REPLAY in metadata else (REASON, AUTHOR)
    reason, author = (metadata.get(key) for key in keys)
    texts = [f"“{reason[:400]}”"] if isinstance(reason, str) else []
    return " · ".join((*texts, *([author[:100]] if isinstance(author, str) else [])))


@dataclass(frozen=True, slots=True)
class Written:
    """What a fork writes: rows by table, bytes in all, and in which namespaces."""

    rows: str
    size: str
    namespaces: str


def written(tables: Mapping[str, Size], namespaces: tuple[str, ...]) -> Written:
    rows = [count(held.rows, TABLES.get(table, table)) for table, held in tables.items() if held.rows]
    return Written(
        rows=", ".join(rows),
        size=size(sum(held.bytes for held in tables.values())),
        namespaces=listed([ns or "the root namespace" for ns in namespaces], NAMESPACES_NAMED),
    )


@dataclass(frozen=True, slots=True)
class Prospect:
    """What the next invoke does, in words. Each is empty where there is nothing to say."""

    runs: str
    again: str
    reused: str
    asks: tuple[str, ...]


def prospect(outlook: Outlook) -> Prospect:
    return Prospect(
        runs=", ".join(counted(outlook.runs)),
        again=", ".join(counted(outlook.again)),
        reused=", ".join(counted(outlook.reused)),
        asks=tuple(brief(asked.value, 400) for asked in first(outlook.asks, TASKS)[0]),
    )


def busy(head: str) -> str:
    """Say when the thread's head was stored, where an agent may be at work on it; else nothing."""
    now, at = datetime.now(UTC), id_time(head)
    if at is None or (now - at).total_seconds() > BUSY_SECONDS:
        return ""
    return ago(at, now)
