"""What a listing selects in the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import get_checkpoint_id
from psycopg.types.json import Jsonb

from checkpoints.postgres.operations import COLUMNS, fetch, fetching, find_all
from checkpoints.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import RunnableConfig

    from checkpoints.postgres.codec import Stored
    from checkpoints.statements import Operation, Row

FIRST_CHECKPOINTS = 16

STRETCH = """\
SELECT row_number() OVER (ORDER BY checkpoint_id DESC)::int AS place, {columns} FROM (
    SELECT {columns} FROM checkpoints WHERE {where} ORDER BY checkpoint_id DESC LIMIT %(limit)s) AS found"""
# Ids can be equal in several namespaces and threads, the official order of which is anyone's.
KEYS = """\
SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints WHERE {where}
ORDER BY checkpoint_id DESC, thread_id, checkpoint_ns LIMIT %(limit)s"""
FURTHER = """\
checkpoint_id <= %(last_id)s
AND (checkpoint_id < %(last_id)s OR (thread_id, checkpoint_ns) > (%(last_thread)s, %(last_ns)s))"""


class PostgresSearch:
    """What a listing selects, as SQL with parameters."""

    first = FIRST_CHECKPOINTS
    at_once = True  # a round trip costs more than the bytes

    def __init__(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
    ) -> None:
        self.conditions: list[str] = []
        self.parameters: dict[str, Any] = {}
        if config:
            self._match_config(config)
        if filter:
            self._add("metadata @> %(filter)s", filter=Jsonb(filter))
        if before is not None:
            self._add("checkpoint_id < %(before)s", before=get_checkpoint_id(before))
        self.in_one_stretch = "checkpoint_ns" in self.parameters

    def _match_config(self, config: RunnableConfig) -> None:
        self._add("thread_id = %(thread_id)s", thread_id=str(config["configurable"]["thread_id"]))
        if (checkpoint_ns := config["configurable"].get("checkpoint_ns")) is not None:
            self._add("checkpoint_ns = %(checkpoint_ns)s", checkpoint_ns=checkpoint_ns)
        if checkpoint_id := get_checkpoint_id(config):
            self._add("checkpoint_id = %(checkpoint_id)s", checkpoint_id=checkpoint_id)

    def _add(self, condition: str, **parameters: Any) -> None:
        self.conditions.append(condition)
        self.parameters |= parameters

    def stretch(self, last: Row | None, limit: int) -> Operation[list[Stored]]:
        """Return the checkpoints that follow `last`."""
        conditions = [*self.conditions, *(["checkpoint_id < %(last_id)s"] if last else [])]
        sql = STRETCH.format(columns=COLUMNS, where=" AND ".join(conditions))
        last_id = {"last_id": last[2]} if last else {}
        return fetch(fetching(sql), {**self.parameters, **last_id, "limit": limit})

    def keys(self, last: Row | None, limit: int) -> Operation[list[Row]]:
        """Return the keys (thread, namespace, id) that follow `last`."""
        conditions, parameters = self.conditions, {**self.parameters, "limit": limit}
        if last is not None:
            conditions = [*conditions, FURTHER]
            parameters |= {"last_thread": last[0], "last_ns": last[1], "last_id": last[2]}
        return (yield Statement(KEYS.format(where=" AND ".join(conditions) or "TRUE"), parameters))

    def find_all(self, keys: Sequence[Row]) -> Operation[list[Stored]]:
        """Return the checkpoints with these keys that exist, in the order of the keys."""
        return find_all(keys)
