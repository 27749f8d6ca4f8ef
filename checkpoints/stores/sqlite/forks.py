"""Forks in a SQLite file, where a checkpoint is one value with all of its state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from checkpoints.errors import CheckpointChanged, CheckpointNotFound, ForkRefused, ThreadExists, ValueRefused
from checkpoints.splicing.formats import FORMATS, Format
from checkpoints.splicing.jsontext import joined, members
from checkpoints.statements import Operation, Statement
from checkpoints.stores.forks import Call, as_stored, metadata_of_fork, parents_of, step_of, version_after
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checkpoints.splicing.seals import Seal
    from checkpoints.stores.forks import Belongings
    from checkpoints.stores.sqlite.schema import Schema

_KEY = "thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = ?3"
_SOURCE = f"""
SELECT parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints WHERE {_KEY}
"""
_SAME = f"SELECT 1 FROM checkpoints WHERE {_KEY} AND type IS ?4 AND checkpoint IS ?5 AND metadata IS ?6"
_HEAD = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
_INSERT = """
INSERT INTO checkpoints
    (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
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
            THEN json_extract(CAST(metadata AS TEXT), '$.parents') END
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


class Source(NamedTuple):
    """The row of a checkpoint that is to be copied."""

    key: tuple[str, str, str]
    parent: str | None
    type: Any
    checkpoint: Any
    metadata: Any


@dataclass(frozen=True, slots=True)
class SqliteForks:
    """`checkpoints.stores.forks.Forks` of SQLite."""

    schema: Schema

    def source(self, thread_id: str, checkpoint_ns: str, id: str) -> Operation[Source]:
        key = thread_id, checkpoint_ns, id
        rows = yield Statement(_SOURCE, key)
        if not rows:
            raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
        return Source(key, *rows[0])

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
        return [found for (found,) in (yield Statement(_CHAIN, (thread_id, checkpoint_ns, id)))]

    def calls(self, thread_id: str) -> Operation[list[Call]]:
        rows = yield Statement(_CALLS, (thread_id,))
        return [Call(ns, id, parents_of(parents)) for ns, id, parents in rows if isinstance(id, str)]

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


class SqliteDraft:
    """A copy of a checkpoint: parts of its value are replaced, all others keep their bytes."""

    def __init__(
        self, source: Source, values: Mapping[str, Any], note: Mapping[str, str], seal: Seal
    ) -> None:
        self._source, self._seal = source, seal
        metadata = _decoded(source.metadata)
        self.step = step_of(metadata)
        self._format, self._parts, self._sealed = _taken_apart(source, seal)
        if values:
            self._edit(values, metadata)
        if "updated_channels" in self._parts or (self._format is FORMATS["msgpack"] and self._version() >= 4):
            # All channels may have changed, as far as the next superstep knows: it looks at each.
            self._parts["updated_channels"] = self._format.pack(None)
        self._metadata = _spliced(source.metadata, *metadata_of_fork(metadata, note, values))

    def put(self, id: str, ts: str) -> Operation[dict[str, Size]]:
        source = self._source
        if not (yield Statement(_SAME, (*source.key, source.type, source.checkpoint, source.metadata))):
            raise CheckpointChanged("The checkpoint has changed meanwhile, or was deleted.")
        stamped = {**self._parts, "id": self._format.pack(id), "ts": self._format.pack(ts)}
        value = self._format.join(stamped)
        if self._sealed:
            _, value = self._seal.close(source.type.partition("+")[0], value)
        thread_id, ns, _ = source.key
        yield Statement(_INSERT, (thread_id, ns, id, source.parent, source.type, value, self._metadata))
        return {"checkpoints": Size(1, len(value) + len(self._metadata))}

    def _version(self) -> int:
        version = self._format.unpack(self._parts["v"]) if "v" in self._parts else 0
        return version if isinstance(version, int) else 0

    def _edit(self, values: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        held = self._format.split(self._parts.get("channel_values", self._format.pack(None)))
        versions = self._format.split(self._parts.get("channel_versions", self._format.pack(None)))
        version = version_after({name: self._format.unpack(raw) for name, raw in versions.items()})
        for channel, value in values.items():
            stored = as_stored(value, channel, metadata, held=channel in held)
            held[channel] = _packed(self._format, channel, stored)
            versions[channel] = self._format.pack(version)
        self._parts["channel_values"] = self._format.join(held)
        self._parts["channel_versions"] = self._format.join(versions)


def _packed(format: Format, channel: str, value: Any) -> bytes:
    try:
        return format.pack(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueRefused(f"The channel {channel!r} cannot hold this value: {error}") from None


def _taken_apart(source: Source, seal: Seal) -> tuple[Format, dict[str, bytes], bool]:
    """Return the format of a stored checkpoint, its parts, and whether it is encrypted."""
    kind, stored = source.type, source.checkpoint
    if not isinstance(kind, str) or not isinstance(stored, bytes | str):
        raise ForkRefused("The checkpoint is stored in a way that no release does.")
    format_, raw = seal.open(kind, stored.encode() if isinstance(stored, str) else stored)
    if format_ not in FORMATS:
        raise ForkRefused(
            f"The checkpoint is stored as {format_!r}, which is not taken apart here.",
            advice="Fork it into a new thread, which copies its bytes as they are.",
        )
    try:
        return FORMATS[format_], FORMATS[format_].split(raw), format_ != kind
    except ValueError as error:
        raise ForkRefused(f"The checkpoint cannot be read: {error}.") from None


def _decoded(metadata: Any) -> dict[str, Any]:
    try:
        found = json.loads(_text(metadata))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _spliced(metadata: Any, fresh: Mapping[str, Any], left: tuple[str, ...]) -> bytes:
    """Return metadata with some keys anew and some left out; the others keep their bytes."""
    try:
        kept = {name: part for name, part in members(_text(metadata)).items() if name not in left}
    except ValueError:
        kept = {}
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in fresh.items()}
    return joined({**kept, **texts}).encode("utf-8", "surrogatepass")


def _text(metadata: Any) -> str:
    if isinstance(metadata, bytes):
        return metadata.decode("utf-8", "surrogatepass")
    return metadata if isinstance(metadata, str) else "{}"


def _wanted(belongings: Belongings) -> tuple[str, str]:
    return json.dumps(belongings.keys), json.dumps(belongings.unfinished)
