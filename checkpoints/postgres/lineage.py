"""Lineage in the tables: ancestors by parent link, and the writes along a chain."""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from checkpoints.postgres.codec import EMPTY
from checkpoints.postgres.operations import NAMESPACE, NO_PATH
from checkpoints.revival import loads_of
from checkpoints.saver.addresses import decode_writes
from checkpoints.saver.jsontext import decode_json
from checkpoints.saver.lineage import Ancestors
from checkpoints.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Collection

    from langgraph.checkpoint.base import DeltaChannelHistory
    from langgraph.checkpoint.serde.base import SerializerProtocol

    from checkpoints.saver.lineage import StoredHistory
    from checkpoints.statements import Operation, Row

HEAD_LINK = f"SELECT checkpoint_id, parent_checkpoint_id {NAMESPACE} ORDER BY checkpoint_id DESC LIMIT 1"
LINK = f"SELECT checkpoint_id, parent_checkpoint_id {NAMESPACE} AND checkpoint_id = %(id)s"
# Which of these channels a checkpoint holds a value of: as a blob, or in its JSON, where null is none.
# OFFSET keeps the planner from reading all blobs of a channel to compare them.
HELD = f"""\
ARRAY(SELECT channel FROM unnest(%(channels)s::text[]) AS wanted (channel) WHERE
    checkpoint -> 'channel_values' -> channel <> 'null'
    OR EXISTS (SELECT 1 FROM checkpoint_blobs WHERE thread_id = %(thread_id)s
        AND checkpoint_ns = %(checkpoint_ns)s AND checkpoint_blobs.channel = wanted.channel
        AND version = checkpoint -> 'channel_versions' ->> wanted.channel AND type <> '{EMPTY}' OFFSET 0))"""
PAGE = f"""\
SELECT checkpoint_id, parent_checkpoint_id, {HELD} {NAMESPACE} AND checkpoint_id <= %(id)s
ORDER BY checkpoint_id DESC LIMIT %(wanted)s"""
CHANNEL_WRITES = f"""\
SELECT -place, path, task_id, idx, type, blob
FROM unnest(%(chain)s::text[]) WITH ORDINALITY AS chain (id, place) CROSS JOIN {NO_PATH}
CROSS JOIN LATERAL (
    SELECT task_path AS path, task_id, idx, type, blob FROM checkpoint_writes
    WHERE thread_id = %(thread_id)s AND checkpoint_ns = %(checkpoint_ns)s
    AND checkpoint_id = chain.id AND channel = %(channel)s OFFSET 0) AS found"""
SEED = f"""\
SELECT (checkpoint -> 'channel_values' -> %(channel)s)::text, found.type, found.blob
FROM (SELECT checkpoint {NAMESPACE} AND checkpoint_id = %(id)s) AS held
LEFT JOIN LATERAL (
    SELECT type, blob FROM checkpoint_blobs WHERE thread_id = %(thread_id)s
    AND checkpoint_ns = %(checkpoint_ns)s AND channel = %(channel)s
    AND version = held.checkpoint -> 'channel_versions' ->> %(channel)s AND type <> '{EMPTY}'
    LIMIT 1) AS found ON TRUE"""

FIRST = 512  # checkpoints that are read at once
MOST = 1_024


class PostgresAncestor(NamedTuple):
    """A checkpoint above another one, and which of the wanted channels it holds."""

    checkpoint_id: str
    parent_checkpoint_id: str | None
    channels: list[str]
    size: int = 0

    def held(self) -> Collection[str]:
        """Return the channels whose value it holds."""
        return self.channels


def link(thread_id: str, checkpoint_ns: str, id: str | None) -> Operation[Row]:
    """Return the id and the parent of a checkpoint, or of the head; (None, None) where there is none."""
    namespace = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
    found = yield Statement(LINK, {**namespace, "id": id}) if id else Statement(HEAD_LINK, namespace)
    return found[0] if found else (None, None)


def ancestors(thread_id: str, checkpoint_ns: str, link: Row, channels: Collection[str]) -> Ancestors:
    """Return the ancestors above a link (id, parent)."""
    wanted = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "channels": list(channels)}
    return Ancestors(partial(_chain, wanted), link, FIRST, MOST)


def _chain(of: dict[str, Any], id: str, wanted: int) -> Operation[list[PostgresAncestor]]:
    """Return a checkpoint and the ancestors that lie among the checkpoints before it.

    Parents are older, unless a clock went back: a page of what is before one holds most of its ancestors, and
    is read at a third of the cost of following links in the server. A loop is followed once around, no more.
    """
    rows = yield Statement(PAGE, {**of, "id": id, "wanted": wanted})
    page = {row[0]: PostgresAncestor(*row) for row in rows}
    chain: list[PostgresAncestor] = []
    at: str | None = id
    while at in page and len(chain) <= len(page):
        chain.append(page[at])
        at = page[at].parent_checkpoint_id
    return chain


def complete(thread_id: str, checkpoint_ns: str, histories: dict[str, StoredHistory]) -> Operation[None]:
    """Read the writes along the chains, and the values where those begin."""
    for channel, history in histories.items():
        of = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "channel": channel}
        if history.chain:
            rows = yield Statement(CHANNEL_WRITES, {**of, "chain": history.chain})
            rows.sort(key=itemgetter(0, 1, 2, 3))
            history.writes = [(task_id, channel, kind, blob) for _, _, task_id, _, kind, blob in rows]
        if history.seed:
            found = yield Statement(SEED, {**of, "id": history.seed.checkpoint_id})
            history.seed = found[0] if found else None


def decode_history(
    serde: SerializerProtocol, stored: dict[str, StoredHistory]
) -> dict[str, DeltaChannelHistory]:
    """Return what LangGraph replays: per channel the writes, oldest first, and the value they start from."""
    loads = loads_of(serde)
    found: dict[str, DeltaChannelHistory] = {}
    for channel, history in stored.items():
        found[channel] = {"writes": decode_writes(loads, history.writes)}
        if history.seed:
            plain, kind, blob = history.seed
            # A blob wins: beside a snapshot the JSON only says `true`.
            found[channel]["seed"] = decode_json(serde, plain) if kind is None else loads((kind, blob))
    return found
