"""What pruning asks of the two tables."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from langgraph.checkpoint.serde.types import TASKS

from checkpoints.saver.jsontext import decode_json
from checkpoints.saver.needs import COUNTERS, names
from checkpoints.saver.pruning import root_of
from checkpoints.saver.tables import Described
from checkpoints.sqlite.codec import skim
from checkpoints.sqlite.operations import BY_ID, NAMESPACE, select
from checkpoints.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.statements import Operation, Row

HEADS = "SELECT checkpoint_ns, max(checkpoint_id) FROM checkpoints WHERE thread_id = ? GROUP BY checkpoint_ns"
EXISTS = f"SELECT 1 {NAMESPACE} AND checkpoint_id = ?"
DELETE_NAMESPACE = (
    "DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?",
    "DELETE FROM writes WHERE thread_id = ? AND checkpoint_ns = ?",
)
COUNTING = """\
SELECT checkpoint_ns, metadata FROM checkpoints
WHERE thread_id = ? AND instr(CAST(metadata AS BLOB), CAST(? AS BLOB))"""
WRITTEN = "SELECT DISTINCT channel FROM writes WHERE thread_id = ? AND checkpoint_ns = ?"
OLDEST_WRITE = """\
SELECT max(chain.key) FROM json_each(?) AS chain CROSS JOIN writes
WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = chain.value AND channel = ?"""
SENDS = """\
SELECT 1 FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND channel = ?
LIMIT 1"""


def heads(serde: SerializerProtocol, thread_id: str) -> Operation[list[Described]]:
    """Return the newest checkpoint of each namespace."""
    found = []
    for checkpoint_ns, checkpoint_id in (yield from select(HEADS, (thread_id,))):
        found.append((yield from describe(serde, thread_id, checkpoint_ns, checkpoint_id)))
    return found


def describe(serde: SerializerProtocol, thread_id: str, checkpoint_ns: str, id: str) -> Operation[Described]:
    """Return what one checkpoint says about itself."""
    [row] = yield from select(BY_ID, (thread_id, checkpoint_ns, id))
    return _described(serde, row)


def _described(serde: SerializerProtocol, row: Row) -> Described:
    _, checkpoint_ns, checkpoint_id, parent_id, type_, blob, raw = row
    checkpoint = skim(serde, type_, blob)
    return Described(
        checkpoint_ns,
        checkpoint_id,
        parent_id,
        checkpoint.get("v"),
        names(checkpoint, "channel_values"),
        names(checkpoint, "channel_versions"),
        root_of(decode_json(serde, raw)),
    )


def existing(thread_id: str, checkpoint_ns: str, ids: Collection[str]) -> Operation[set[str]]:
    """Return those of these checkpoints that there are."""
    found = set()
    for id in ids:
        if (yield from select(EXISTS, (thread_id, checkpoint_ns, id))):
            found.add(id)
    return found


def delete_namespaces(thread_id: str, namespaces: Collection[str]) -> Operation[None]:
    """Delete all rows of some namespaces."""
    for sql in DELETE_NAMESPACE:
        yield Statement(sql, many=[(thread_id, checkpoint_ns) for checkpoint_ns in namespaces])


def counted(serde: SerializerProtocol, thread_id: str) -> Operation[dict[str, set[str]]]:
    """Return, by namespace, the DeltaChannels that LangGraph ever counted the updates of."""
    found: dict[str, set[str]] = {}
    for checkpoint_ns, metadata in (yield from select(COUNTING, (thread_id, COUNTERS))):
        with suppress(ValueError):  # metadata that is no JSON names none
            found.setdefault(checkpoint_ns, set()).update(names(decode_json(serde, metadata), COUNTERS))
    return found


def written(thread_id: str, checkpoint_ns: str) -> Operation[set[str]]:
    """Return the channels that have pending writes in a namespace."""
    return {channel for (channel,) in (yield from select(WRITTEN, (thread_id, checkpoint_ns)))}


def oldest_write(
    thread_id: str, checkpoint_ns: str, chain: Sequence[str], channel: str
) -> Operation[int | None]:
    """Return the place in the chain of the last checkpoint that has writes to the channel."""
    found = yield from select(OLDEST_WRITE, (json.dumps(list(chain)), thread_id, checkpoint_ns, channel))
    place: int | None = found[0][0]
    return place


def has_sends(thread_id: str, checkpoint_ns: str, id: str) -> Operation[bool]:
    """Tell whether tasks were sent from a checkpoint."""
    return bool((yield from select(SENDS, (thread_id, checkpoint_ns, id, TASKS))))
