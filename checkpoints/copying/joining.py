"""A thread of a PostgreSQL database, put together for a SQLite file.

There a checkpoint is one value, whose parts are spliced: the bytes of each channel's value are those of its
row in `checkpoint_blobs`. It loads to what LangGraph's PostgreSQL saver makes of the parts. JSON values, as
LangGraph.js writes them, make a checkpoint of JSON text: only there does LangGraph find objects in them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from langgraph.checkpoint.serde.types import TASKS

from checkpoints.copying.splitting import FIRST_WITH_SENDS_AS_CHANNEL, naming
from checkpoints.copying.spool import content
from checkpoints.copying.tables import CHECKPOINTS, POSTGRES_WRITES, WRITES
from checkpoints.inert import packing
from checkpoints.postgres.codec import EMPTY
from checkpoints.saver.versions import next_version
from checkpoints.splicing import msgpacked
from checkpoints.splicing.jsontext import has_objects, joined
from checkpoints.splicing.seals import MARK
from checkpoints.stores.records import Size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checkpoints.copying.progress import Meter
    from checkpoints.copying.spool import Spool
    from checkpoints.splicing.seals import Seal
    from checkpoints.statements import Row

Typed: TypeAlias = tuple[str, bytes]

ORDER = ("v", "ts", "id", "channel_values", "channel_versions", "versions_seen", "updated_channels")
BLOB = """\
SELECT type, blob FROM checkpoint_blobs WHERE checkpoint_ns = ? AND channel = ? AND version = ?"""
SENDS = """\
SELECT type, blob FROM checkpoint_writes WHERE checkpoint_ns = ? AND checkpoint_id = ? AND channel = ?
ORDER BY task_path, task_id, idx"""
KINDS = "SELECT DISTINCT type FROM checkpoint_blobs UNION SELECT DISTINCT type FROM checkpoint_writes"
UNUSED = """\
SELECT count(*) FROM checkpoint_blobs LEFT JOIN used USING (checkpoint_ns, channel, version)
WHERE used.version IS NULL"""
CREATE_USED = (
    "CREATE TEMP TABLE used (checkpoint_ns, channel, version, PRIMARY KEY (checkpoint_ns, channel, version))"
)
ADD_USED = "INSERT OR IGNORE INTO used VALUES (?, ?, ?)"


def join(source: Spool, target: Spool, seal: Seal, meter: Meter) -> int:
    """Fill the target with the rows that a SQLite file has of the thread.

    Returns the number of blobs that no checkpoint refers to. Raises CopyRefused and KeyUnusable.
    """
    rows, writes = source.size(CHECKPOINTS), source.size(POSTGRES_WRITES)
    meter.begin("convert", Size(rows.rows + writes.rows, rows.bytes + writes.bytes))
    joiner = _Joiner(source, seal)
    with target.filling():
        for row in source.rows(CHECKPOINTS):
            with naming(row[1]):
                target.add(CHECKPOINTS, [joiner.checkpoint(row)])
            meter.advance(1, content(CHECKPOINTS, row))
        for row in source.rows(POSTGRES_WRITES):
            target.add(WRITES, [row])
            meter.advance(1, content(POSTGRES_WRITES, row))
    return joiner.unused()


class _Joiner:
    """Puts checkpoints together, one at a time."""

    def __init__(self, source: Spool, seal: Seal) -> None:
        self._conn, self._seal = source.conn, seal
        self._conn.execute(CREATE_USED)
        kinds = {kind for (kind,) in self._conn.execute(KINDS) if kind}
        formats = {kind.partition("+")[0] for kind in kinds}
        self._sealed = any(kind.endswith(MARK) for kind in kinds)
        self._json = "json" in formats and formats <= {"json", "null", EMPTY}

    def checkpoint(self, row: Row) -> Row:
        """Return the row of a SQLite file."""
        ns, id, parent, _, text, metadata = row
        checkpoint = json.loads(text)
        if not isinstance(checkpoint, dict):
            raise ValueError("it is no object")
        plain = checkpoint.get("channel_values") or {}
        versions = checkpoint.setdefault("channel_versions", {})
        blobs = self._blobs(ns, versions)
        if sends := self._sends(ns, parent, checkpoint.get("v")):
            blobs[TASKS] = sends
            # As LangGraph's saver adds them to what it reads.
            versions[TASKS] = max(versions.values()) if versions else next_version(None)
        write = _as_json if self._json else _as_msgpack
        typed = write(checkpoint, plain, blobs)
        return (ns, id, parent, *(self._seal.close(*typed) if self._sealed else typed), metadata.encode())

    def unused(self) -> int:
        """Return how many blobs no checkpoint referred to."""
        [(count,)] = self._conn.execute(UNUSED)
        return int(count)

    def _blobs(self, ns: str, versions: dict[str, Any]) -> dict[str, Typed]:
        found: dict[str, Typed] = {}
        for channel, version in versions.items():
            key = (ns, channel, version if isinstance(version, str) else json.dumps(version))
            if row := self._conn.execute(BLOB, key).fetchone():
                self._conn.execute(ADD_USED, key)
                if row[0] != EMPTY:
                    found[channel] = self._seal.open(*row)
        return found

    def _sends(self, ns: str, parent: str | None, version: Any) -> Typed | None:
        """Return the tasks that the parent sent, where a checkpoint does not say so itself, as one value."""
        if not isinstance(version, int) or version >= FIRST_WITH_SENDS_AS_CHANNEL or not parent:
            return None
        sends = [self._seal.open(*row) for row in self._conn.execute(SENDS, (ns, parent, TASKS))]
        if not sends:
            return None
        if self._json:
            return "json", f"[{', '.join(_text(send) for send in sends)}]".encode()
        return "msgpack", msgpacked.listed([_packed(send) for send in sends])


def _as_msgpack(checkpoint: dict[str, Any], plain: dict[str, Any], blobs: dict[str, Typed]) -> Typed:
    values = {name: packing.encode(value) for name, value in plain.items()}
    values |= {name: _packed(blob) for name, blob in blobs.items()}
    parts = {name: packing.encode(part) for name, part in checkpoint.items()}
    parts["channel_values"] = msgpacked.mapped(values.items())
    return "msgpack", msgpacked.mapped((name, parts[name]) for name in _ordered(parts))


def _as_json(checkpoint: dict[str, Any], plain: dict[str, Any], blobs: dict[str, Typed]) -> Typed:
    if has_objects(plain):
        raise ValueError("LangGraph would make objects of its plain values")
    values = {name: json.dumps(value, ensure_ascii=False) for name, value in plain.items()}
    values |= {name: _text(blob) for name, blob in blobs.items()}
    parts = {name: json.dumps(part, ensure_ascii=False) for name, part in checkpoint.items()}
    parts["channel_values"] = joined(values)
    return "json", joined({name: parts[name] for name in _ordered(parts)}).encode()


def _ordered(names: Iterable[str]) -> list[str]:
    """Sort names as LangGraph writes them; PostgreSQL sorts them by their length."""
    return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def _packed(blob: Typed) -> bytes:
    """Return a value as a part of msgpack. Raises ValueError for what cannot be one."""
    kind, raw = blob
    match kind:
        case "msgpack":
            return msgpacked.require_one(raw)
        case "null":
            return msgpacked.NIL
        case "bytes":
            return packing.encode(raw)
        case "bytearray":
            return msgpacked.packed_bytearray(raw)
        case "json":
            if has_objects(value := json.loads(raw.decode())):
                raise ValueError("it holds objects as JSON beside others as msgpack")
            return packing.encode(value)
    raise ValueError(f"a value of the type {kind!r} cannot be a part of a row")


def _text(blob: Typed) -> str:
    """Return a value as a part of JSON. Raises ValueError for what cannot be one."""
    kind, raw = blob
    if kind == "null":
        return "null"
    if kind != "json":
        raise ValueError(f"a value of the type {kind!r} cannot be a part of JSON")
    text = raw.decode()
    json.loads(text)
    return text
