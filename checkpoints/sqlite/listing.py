"""A listing: the checkpoints that a search finds, page by page, in the saver's order."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import get_checkpoint_id

from checkpoints.sqlite.operations import find, select

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from checkpoints.sqlite.codec import Stored
    from checkpoints.sqlite.driver import Operation, Row

PAGE_CHECKPOINTS = 64
PAGE_BYTES = 8 * 2**20
MOST_KEYS = 2**16

KEYS = """\
SELECT thread_id, checkpoint_ns, checkpoint_id, {tie} FROM checkpoints
WHERE {where} ORDER BY checkpoint_id DESC, {tie} LIMIT ?"""
# The first comparison is the one that an index serves.
FURTHER = "checkpoint_id <= ? AND (checkpoint_id < ? OR {tie} > ?)"
METADATA = "json_extract(CAST(metadata AS TEXT), ?)"
FILTER_KEY = re.compile(r"[a-zA-Z0-9_.-]+")


class Search:
    """The conditions of a listing as SQL, with their parameters."""

    def __init__(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
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
        """Return the keys that follow `last`: thread, namespace, id, and what breaks a tie."""
        conditions, parameters = self.conditions, self.parameters
        if last is not None:
            conditions = [*conditions, FURTHER.format(tie=self.tie)]
            parameters = [*parameters, last[2], last[2], last[3]]
        sql = KEYS.format(tie=self.tie, where=" AND ".join(conditions) or "TRUE")
        return select(sql, [*parameters, limit])


class Listing:
    """Reads a search page by page. Between pages it holds no cursor and no lock.

    Keys come first, from the covering index where there is no metadata filter, and in batches that grow: a
    listing of the whole store has to sort all keys for each batch.
    """

    def __init__(self, search: Search, limit: int | None) -> None:
        self._search = search
        self._left = -1 if limit is None else limit  # negative: no limit, as in SQL
        self._keys: deque[Row] = deque()
        self._batch = PAGE_CHECKPOINTS
        self._last: Row | None = None

    def page(self) -> Operation[list[Stored]]:
        """Return the next checkpoints, none at the end. A checkpoint deleted meanwhile is left out."""
        page: list[Stored] = []
        size = 0
        while len(page) < PAGE_CHECKPOINTS and size < PAGE_BYTES:
            if not self._keys and not (yield from self._more_keys()):
                break
            thread_id, checkpoint_ns, checkpoint_id, _ = self._keys.popleft()
            if stored := (yield from find(thread_id, checkpoint_ns, checkpoint_id)):
                page.append(stored)
                size += _size(stored)
        return page

    def _more_keys(self) -> Operation[bool]:
        limit = self._batch if self._left < 0 else min(self._batch, self._left)
        if limit == 0:
            return False
        self._keys.extend((yield from self._search.keys(self._last, limit)))
        if not self._keys:
            return False
        self._last = self._keys[-1]
        self._left = self._left if self._left < 0 else self._left - len(self._keys)
        self._batch = min(self._batch * 8, MOST_KEYS)
        return True


def _comparable(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict | list):  # json_extract renders them without spaces
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)


def _size(stored: Stored) -> int:
    return len(stored.checkpoint or b"") + sum(len(write[3] or b"") for write in stored.writes)
