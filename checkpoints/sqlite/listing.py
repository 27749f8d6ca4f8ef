"""A listing: the checkpoints that a search finds, page by page, in the saver's order."""

from __future__ import annotations

import json
import math
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import get_checkpoint_id

from checkpoints.sqlite.codec import Stored
from checkpoints.sqlite.operations import COLUMNS, find_all, select, select_writes

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from checkpoints.statements import Operation, Row

PAGE_CHECKPOINTS = 64
PAGE_BYTES = 8 * 2**20
FIRST_CHECKPOINTS = 8  # then twice as many, while the page is below its bytes
MORE_KEYS = 2**16  # after the first page: each batch looks at all keys anew

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


class Conditions:
    """What a listing selects, as SQL with parameters."""

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
        self.in_one_namespace = bool(
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

    def rows(self, last: Row | None, limit: int) -> Operation[list[Row]]:
        """Return the rows that follow `last`."""
        return self._select(f"{COLUMNS}, {self.tie}", last, limit)

    def _select(self, columns: str, last: Row | None, limit: int) -> Operation[list[Row]]:
        conditions, parameters = self.conditions, self.parameters
        if last is not None:
            conditions = [*conditions, FURTHER.format(tie=self.tie)]
            parameters = [*parameters, last[2], last[2], last[-1]]
        where = " AND ".join(conditions) or "TRUE"
        return select(FOUND.format(columns=columns, tie=self.tie, where=where), [*parameters, limit])


class Listing:
    """Reads what a search finds, page by page. Between pages it holds no cursor and no lock.

    Where it is a stretch of one namespace, rows and writes are read as such. Elsewhere keys come first, from
    the covering index where there is no metadata filter: one page of them, then many, since each batch has to
    sort all that are left. Read pages until it has `ended`.
    Raises ValueError for a filter key that LangGraph does not allow, and for a limit that is no whole number.
    """

    def __init__(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> None:
        self._conditions = Conditions(config, filter, before)
        self._left = _whole(limit)
        self._keys: deque[Row] = deque()
        self._last: Row | None = None
        self._batch = PAGE_CHECKPOINTS

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to read."""
        return not self._keys and not self._left

    def page(self) -> Operation[list[Stored]]:
        """Return the next checkpoints. One that was deleted meanwhile is left out."""
        page: list[Stored] = []
        size, wanted = 0, FIRST_CHECKPOINTS
        while not self.ended and len(page) < PAGE_CHECKPOINTS and size < PAGE_BYTES:
            count = min(wanted, PAGE_CHECKPOINTS - len(page))
            if self._conditions.in_one_namespace:
                found = yield from self._read_stretch(count)
            else:
                found = yield from self._read_by_key(count)
            page += found
            size += sum(map(_size, found))
            wanted *= 2
        return page

    def _read_stretch(self, count: int) -> Operation[list[Stored]]:
        limit = int(min(count, self._left))
        rows = yield from self._conditions.rows(self._last, limit)
        self._advance(rows, limit)
        if not rows:
            return []
        writes: dict[str, list[Row]] = {row[2]: [] for row in rows}
        between = (*rows[0][:2], rows[-1][2], rows[0][2])
        for write in (yield from select_writes(WRITES_BETWEEN, between)):
            if write[0] in writes:
                writes[write[0]].append(write[1:])
        return [Stored._make((*row[:-1], writes[row[2]])) for row in rows]

    def _read_by_key(self, count: int) -> Operation[list[Stored]]:
        if not self._keys:
            yield from self._read_keys()
        keys = [self._keys.popleft()[:3] for _ in range(min(count, len(self._keys)))]
        return (yield from find_all(keys)) if keys else []

    def _read_keys(self) -> Operation[None]:
        limit = int(min(self._batch, self._left))
        keys = yield from self._conditions.keys(self._last, limit)
        self._keys.extend(keys)
        self._batch = MORE_KEYS
        self._advance(keys, limit)

    def _advance(self, rows: list[Row], limit: int) -> None:
        self._last = rows[-1] if rows else None
        self._left = self._left - limit if len(rows) == limit else 0


def _whole(limit: int | None) -> float:
    if limit is None:
        return math.inf
    whole = int(limit)
    if whole != float(limit):
        raise ValueError(f"limit is {limit!r}; give a whole number")
    return math.inf if whole < 0 else whole  # as in SQL


def _comparable(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict | list):  # json_extract renders them without spaces
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)


def _size(stored: Stored) -> int:
    size = len(stored.checkpoint or b"")
    for *_, value in stored.writes:
        size += len(value or b"")
    return size
