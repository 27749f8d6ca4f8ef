"""Forks in a SQLite file, where a checkpoint is one value with all of its state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from checkpoints.errors import ThreadExists
from checkpoints.statements import Operation, Statement
from checkpoints.stores.forks import Call, parents_of
from checkpoints.stores.records import Size
from checkpoints.stores.sqlite.drafts import SqliteDraft, source

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from checkpoints.splicing.seals import Seal
    from checkpoints.stores.forks import Belongings
    from checkpoints.stores.sqlite.drafts import Source
    from checkpoints.stores.sqlite.schema import Schema

_HEAD = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
# UNION leaves out what was met before: links may loop. CROSS JOIN makes each step a seek.
_CHAIN = """
WITH RECURSIVE chain (id, parent) AS (
    SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints
    WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = ?3
    UNION
    SELECT found.checkpoint_id, found.parent_checkpoint_id FROM chain CROSS JOIN checkpoints AS found
    ON found.thread_id = ?1 AND found.checkpoint_ns = ?2 AND found.checkpoint_id = chain.parent
)
SELECT id FROM chain
"""
_CALLS = """
SELECT checkpoint_ns, checkpoint_id,
       CASE WHEN json_valid(CAST(metadata AS TEXT))
            THEN json_extract(CAST(metadata AS TEXT),
                              CASE json_type(CAST(metadata AS TEXT), '$.parents')
                              WHEN 'object' THEN '$.parents' ELSE '$.none' END) END
FROM checkpoints WHERE thread_id = ? AND checkpoint_ns > ''
"""
_EXISTING = """
SELECT wanted.value FROM json_each(?1) AS wanted CROSS JOIN checkpoints
ON thread_id = ?2 AND checkpoint_ns = ?3 AND checkpoint_id = wanted.value
"""
_KEYS = "json_each(?1) AS wanted CROSS JOIN {table} AS kept ON kept.thread_id = ?2"
_OF_CHECKPOINT = """
AND kept.checkpoint_ns = json_extract(wanted.value, '$[0]')
AND kept.checkpoint_id = json_extract(wanted.value, '$[1]')
"""
_CHECKPOINTS = f"{_KEYS.format(table='checkpoints')} {_OF_CHECKPOINT}"
_WRITES = f"""
{_KEYS.format(table="writes")} {_OF_CHECKPOINT}
WHERE NOT EXISTS (
    SELECT 1 FROM json_each(?3) AS task
    WHERE kept.checkpoint_ns = json_extract(task.value, '$[0]')
      AND kept.checkpoint_id = json_extract(task.value, '$[1]')
      AND kept.task_id = json_extract(task.value, '$[2]')
)
"""
_COUNT_CHECKPOINTS = f"""
SELECT count(*), ifnull(sum(ifnull(length(kept.checkpoint), 0) + ifnull(length(kept.metadata), 0)), 0)
FROM {_CHECKPOINTS}
"""
_COUNT_WRITES = f"SELECT count(*), ifnull(sum(ifnull(length(kept.value), 0)), 0) FROM {_WRITES}"
_ANY = "SELECT 1 FROM {table} WHERE thread_id = ? LIMIT 1"
# What is to be copied waits in tables of this connection, so that the file is locked for the copying alone.
_STAGE = (
    "CREATE TEMP TABLE wanted (ns, id)",
    "CREATE TEMP TABLE unfinished (ns, id, task_id, PRIMARY KEY (ns, id, task_id))",
)
_STAGE_KEYS = "INSERT INTO temp.wanted VALUES (?, ?)"
_STAGE_TASKS = "INSERT INTO temp.unfinished VALUES (?, ?, ?)"
# In the order of their ids: the list of threads goes by what was written last.
_COPY_CHECKPOINTS = """
INSERT INTO main.checkpoints
    (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
SELECT ?2, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
FROM temp.wanted CROSS JOIN main.checkpoints ON thread_id = ?1 AND checkpoint_ns = ns AND checkpoint_id = id
"""
_COPY_WRITES = """
INSERT INTO main.writes
    (thread_id, checkpoint_ns, checkpoint_id, task_id, {path} idx, channel, type, value)
SELECT ?2, checkpoint_ns, checkpoint_id, task_id, {path} idx, channel, type, value
FROM temp.wanted CROSS JOIN main.writes ON thread_id = ?1 AND checkpoint_ns = ns AND checkpoint_id = id
WHERE (ns, id, task_id) NOT IN temp.unfinished
"""
_CHANGED = "SELECT changes()"


@dataclass(frozen=True, slots=True)
class SqliteForks:
    """`checkpoints.stores.forks.Forks` of SQLite."""

    schema: Schema

    def source(
        self, thread_id: str, checkpoint_ns: str, id: str, edited: Collection[str]
    ) -> Operation[Source]:
        return source(thread_id, checkpoint_ns, id)

    def draft(
        self, source: Source, values: Mapping[str, Any], note: Mapping[str, str], seal: Seal
    ) -> SqliteDraft:
        return SqliteDraft(source, values, note, seal)

    def reserve(self, thread_id: str) -> Operation[None]:
        yield from ()  # the transaction has the lock of the file

    def head(self, thread_id: str, checkpoint_ns: str) -> Operation[str | None]:
        [(id,)] = yield Statement(_HEAD, (thread_id, checkpoint_ns))
        return None if id is None else str(id)

    def chain(self, thread_id: str, checkpoint_ns: str, id: str) -> Operation[list[str]]:
        rows = yield Statement(_CHAIN, (thread_id, checkpoint_ns, id))
        return [found for (found,) in rows if isinstance(found, str)]

    def calls(self, thread_id: str) -> Operation[list[Call]]:
        rows = yield Statement(_CALLS, (thread_id,))
        return [
            Call(ns, id, parents_of(parents))
            for ns, id, parents in rows
            if isinstance(ns, str) and isinstance(id, str)
        ]

    def existing(self, thread_id: str, checkpoint_ns: str, ids: Sequence[str]) -> Operation[set[str]]:
        rows = yield Statement(_EXISTING, (json.dumps(ids), thread_id, checkpoint_ns))
        return {id for (id,) in rows}

    def sizes(self, thread_id: str, belongings: Belongings) -> Operation[dict[str, Size]]:
        keys, tasks = _wanted(belongings)
        [checkpoints] = yield Statement(_COUNT_CHECKPOINTS, (keys, thread_id))
        if not self.schema.writes:
            return {"checkpoints": Size(*checkpoints)}
        [writes] = yield Statement(_COUNT_WRITES, (keys, thread_id, tasks))
        return {"checkpoints": Size(*checkpoints), "writes": Size(*writes)}

    def stage(self, belongings: Belongings) -> Operation[None]:
        for sql in _STAGE:
            yield Statement(sql)
        yield Statement(_STAGE_KEYS, many=sorted(belongings.keys, key=itemgetter(1)))
        yield Statement(_STAGE_TASKS, many=sorted(set(belongings.unfinished)))

    def copy(self, thread_id: str, belongings: Belongings, target: str) -> Operation[dict[str, int]]:
        tables = {"checkpoints": _COPY_CHECKPOINTS}
        if self.schema.writes:
            tables["writes"] = _COPY_WRITES.format(path="task_path," if self.schema.task_path else "")
        for table in tables:
            if (yield Statement(_ANY.format(table=table), (target,))):
                raise ThreadExists(f"There is a thread {target!r} already.")
        copied = {}
        for table, sql in tables.items():
            yield Statement(sql, (thread_id, target))
            [(copied[table],)] = yield Statement(_CHANGED)
        return copied


def _wanted(belongings: Belongings) -> tuple[str, str]:
    return json.dumps(belongings.keys), json.dumps(belongings.unfinished)
