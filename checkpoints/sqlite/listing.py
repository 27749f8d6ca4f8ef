"""What a listing selects in the two tables."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import get_checkpoint_id

from checkpoints.sqlite.codec import Stored
from checkpoints.sqlite.operations import COLUMNS, find_all, select, select_writes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import RunnableConfig

    from checkpoints.statements import Operation, Row

FIRST_CHECKPOINTS = 8

FOUND = """\
SELECT {columns} FROM checkpoints WHERE {where} ORDER BY checkpoint_id DESC, {tie} LIMIT ?"""
# The first comparison is the one that an index serves.
FURTHER = "checkpoint_id <= ? AND (checkpoint_id < ? OR {tie} > ?)"
# Checkpoints come first: there may be writes in between whose checkpoint is gone.
WRITES_BETWEEN = """\
SELECT checkpoint_id, task_id, channel, writes.type, value
FROM checkpoints CROSS JOIN writes USING (thread_id, checkpoint_ns, checkpoint_id)
WHERE checkpoints.thread_id = ? AND checkpoints.checkpoint_ns = ?
AND checkpoints.checkpoint_id BETWEEN ? AND ?
ORDER BY task_path, task_id, idx"""
METADATA = "json_extract(CAST(metadata AS TEXT), ?)"
FILTER_KEY = re.compile(r"[a-zA-Z0-9_.-]+")


class SqliteSearch:
    """What a listing selects, as SQL with parameters.

    Keys come from the covering index where there is no metadata filter. Raises ValueError for a filter key
    that LangGraph does not allow.
    """

    first = FIRST_CHECKPOINTS
    at_once = False

    def __init__(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
    ) -> None:
        self.conditions: list[str] = []
        self.parameters: list[Any] = []
        if config is not None:
            self._match_config(config)
        for key, value in (filter or {}).items():
            self._match_metadata(key, value)
        if before is not None:
            self._add("checkpoint_id < ?", get_checkpoint_id(before))
        # Ids can be equal in several namespaces and threads. The official order is then the index's within
        # a thread, and the one of insertion in the whole store.
        self.tie = "rowid" if config is None else "checkpoint_ns"
        self.in_one_stretch = bool(
            config is not None and config["configurable"].get("checkpoint_ns") is not None and not filter
        )

    def _match_config(self, config: RunnableConfig) -> None:
        self._add("thread_id = ?", str(config["configurable"]["thread_id"]))
        if (checkpoint_ns := config["configurable"].get("checkpoint_ns")) is not None:
            self._add("checkpoint_ns = ?", checkpoint_ns)
        if checkpoint_id := get_checkpoint_id(config):
            self._add("checkpoint_id = ?", checkpoint_id)

    def _match_metadata(self, key: str, value: Any) -> None:
        if not FILTER_KEY.fullmatch(key):
            raise ValueError(
                f"Invalid filter key: {key!r}. Use letters, digits, underscores, hyphens; dots for levels."
            )
        self._add(f"{METADATA} {'IS' if value is None else '='} ?", f"$.{key}", _comparable(value))

    def _add(self, condition: str, *parameters: Any) -> None:
        self.conditions.append(condition)
        self.parameters.extend(parameters)

    def keys(self, last: Row | None, limit: int) -> Operation[list[Row]]:
        """Return the keys (thread, namespace, id) that follow `last`, and what breaks a tie."""
        return self._select(f"thread_id, checkpoint_ns, checkpoint_id, {self.tie}", last, limit)

    def stretch(self, last: Row | None, limit: int) -> Operation[list[Stored]]:
        """Return the checkpoints that follow `last`, and their writes."""
        rows = yield from self._select(COLUMNS, last, limit)
        if not rows:
            return []
        writes: dict[str, list[Row]] = {row[2]: [] for row in rows}
        between = (*rows[0][:2], rows[-1][2], rows[0][2])
        for write in (yield from select_writes(WRITES_BETWEEN, between)):
            if write[0] in writes:
                writes[write[0]].append(write[1:])
        return [Stored._make((*row, writes[row[2]])) for row in rows]

    def find_all(self, keys: Sequence[Row]) -> Operation[list[Stored]]:
        """Return the checkpoints with these keys that exist, in the order of the keys."""
        return find_all(keys)

    def _select(self, columns: str, last: Row | None, limit: int) -> Operation[list[Row]]:
        conditions, parameters = self.conditions, self.parameters
        if last is not None:
            conditions = [*conditions, FURTHER.format(tie=self.tie)]
            parameters = [*parameters, last[2], last[2], last[-1]]
        where = " AND ".join(conditions) or "TRUE"
        return select(FOUND.format(columns=columns, tie=self.tie, where=where), [*parameters, limit])


def _comparable(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict | list):  # json_extract renders them without spaces
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)
