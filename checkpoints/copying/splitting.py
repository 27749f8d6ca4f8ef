"""A thread of a SQLite file, taken apart for PostgreSQL.

There a checkpoint's plain values stand in its JSON, and every other value is a row of `checkpoint_blobs`,
found by its channel and version. The bytes of these values are not changed. Three things need more than that:

- A file holds a value anew in each checkpoint. Where two checkpoints hold different ones at the same version,
  there is no row for both: then each stands in the JSON of its checkpoint, if JSON can hold it.
- So does a value whose channel has no version, as very old files and LangGraph.js have them.
- What was encrypted as a whole is encrypted value by value. None of these goes into the JSON, which is open.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from langgraph.checkpoint.serde.types import TASKS

from checkpoints.copying.likeness import alike
from checkpoints.copying.spool import content
from checkpoints.copying.tables import BLOBS, CHECKPOINTS, POSTGRES_WRITES, WRITES
from checkpoints.errors import CopyRefused
from checkpoints.inert import packing
from checkpoints.inert.msgpack import decode
from checkpoints.splicing import msgpacked
from checkpoints.splicing.formats import ROOMY
from checkpoints.splicing.jsontext import has_objects, is_exact, is_plain, members, require_jsonb, strict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.copying.progress import Meter
    from checkpoints.copying.spool import Spool
    from checkpoints.splicing.seals import Seal
    from checkpoints.statements import Row

Key: TypeAlias = tuple[str, str, str]
"""Namespace, channel and version."""

MOST_INLINE = 16 << 20  # bytes of one checkpoint's JSON; JSONB ends at 256 MB
SENDS = "pending_sends"
FIRST_WITH_SENDS_AS_CHANNEL = 4
NOT_PLAIN = object()

ABSENT = """\
CREATE TEMP TABLE absent (checkpoint_ns, channel, version, PRIMARY KEY (checkpoint_ns, channel, version))"""
ADD_ABSENT = "INSERT OR IGNORE INTO absent VALUES (?, ?, ?)"
FOUND_ABSENT = """\
SELECT checkpoint_ns, channel, version, type, blob
FROM absent JOIN checkpoint_blobs USING (checkpoint_ns, channel, version)"""
BLOB = "SELECT type, blob FROM checkpoint_blobs WHERE checkpoint_ns = ? AND channel = ? AND version = ?"
PARENTS_SENDS = "SELECT type, value FROM writes WHERE checkpoint_ns = ? AND checkpoint_id = ? AND channel = ?"


class Parted(NamedTuple):
    """A stored checkpoint: each channel's value as it is stored, and the rest of it, decoded."""

    format: str  # of the values: msgpack or json
    sealed: bool
    rest: dict[str, Any]
    sends: list[bytes]
    values: dict[str, bytes]


class _Contested(Exception):
    """Values have no row of their own after all; the attempt begins anew."""


def split(source: Spool, target: Spool, seal: Seal, meter: Meter) -> None:
    """Fill the target with the rows that PostgreSQL has of the thread. Raises CopyRefused and KeyUnusable."""
    contested: set[Key] = set()
    while True:
        meter.begin("convert", source.total)
        with suppress(_Contested), target.filling():
            return _Splitter(source, target, seal, contested).run(meter)


class _Splitter:
    """One attempt. It leaves the contested values in the JSON, and adds those that it finds."""

    def __init__(self, source: Spool, target: Spool, seal: Seal, contested: set[Key]) -> None:
        self._source, self._target, self._seal = source, target, seal
        self._inline = frozenset(contested)
        self._contested = contested
        self._met: dict[str, tuple[str, bytes]] = {}  # the version and value of each channel met last
        self._ns: str | None = None

    def run(self, meter: Meter) -> None:
        """Take every row apart. Raises _Contested."""
        self._target.conn.execute(ABSENT)
        for row in self._source.rows(CHECKPOINTS):
            with naming(row[1]):
                self._target.add(CHECKPOINTS, [self._checkpoint(row)])
            meter.advance(1, content(CHECKPOINTS, row))
        for ns, channel, version, kind, blob in self._target.conn.execute(FOUND_ABSENT):
            # LangGraph's PostgreSQL saver finds a snapshot wherever its version is. It is the value there.
            if not msgpacked.is_snapshot(self._seal.open(kind, blob)[1]):
                self._contested.add((ns, channel, version))
        if self._contested > self._inline:
            raise _Contested
        self._target.conn.execute("DROP TABLE absent")
        for row in self._source.rows(WRITES):
            with naming(row[1]):
                self._target.add(POSTGRES_WRITES, [_write(row)])
            meter.advance(1, content(WRITES, row))

    def _checkpoint(self, row: Row) -> Row:
        ns, id, parent, kind, stored, metadata = row
        if ns != self._ns:
            self._ns, self._met = ns, {}
        parted = self._parted(kind, stored)
        _require_texts(ns, id, parent, *parted.values)
        rest = self._rest(parted, ns, parent)
        versions = {name: _version(version) for name, version in (rest.get("channel_versions") or {}).items()}
        plain = self._placed(ns, versions, parted)
        absent = [
            (ns, name, version) for name, version in versions.items() if version and name not in parted.values
        ]
        self._target.conn.executemany(ADD_ABSENT, absent)
        text = json.dumps({**rest, "channel_values": plain}, ensure_ascii=False)
        return (ns, id, parent, None, text, _metadata(metadata))

    def _parted(self, kind: Any, stored: Any) -> Parted:
        if not isinstance(kind, str) or not isinstance(stored, bytes | str):
            raise ValueError("it is stored in a way that no release does")
        format_, raw = self._seal.open(kind, stored.encode() if isinstance(stored, str) else stored)
        if format_ == "json":
            return _of_json(raw.decode(), sealed=format_ != kind)
        if format_ == "msgpack":
            return _of_msgpack(raw, sealed=format_ != kind)
        raise ValueError(f"its values are not apart in a row of the type {format_!r}")

    def _rest(self, parted: Parted, ns: str, parent: str | None) -> dict[str, Any]:
        """Return all but the values. Raises ValueError for what JSON cannot hold."""
        rest, version = parted.rest, parted.rest.get("v")
        if parted.sends and isinstance(version, int) and version < FIRST_WITH_SENDS_AS_CHANNEL:
            rows = self._source.conn.execute(PARENTS_SENDS, (ns, parent, TASKS))
            if sorted(parted.sends) != sorted(self._seal.open(*row)[1] for row in rows):
                raise ValueError("it was to send tasks that its parent has no writes of")
            rest = {**rest, SENDS: []}  # PostgreSQL's savers take them from there
        for name, value in rest.items():
            if not (is_plain(name) and is_exact(value)):
                raise ValueError(f"JSON cannot hold its {name}")
        return rest

    def _placed(self, ns: str, versions: dict[str, str | None], parted: Parted) -> dict[str, Any]:
        """Add the blobs of a checkpoint, and return the values that stand in its JSON."""
        plain: dict[str, Any] = {}
        room = MOST_INLINE
        for channel, raw in parted.values.items():
            version = versions.get(channel)
            if version is None or (ns, channel, version) in self._inline:
                plain[channel] = _in_json(parted, channel, version, raw)
            elif len(raw) < room and (held := _as_official(parted, raw)) is not NOT_PLAIN:
                plain[channel] = held
                room -= len(raw)
            else:
                self._add((ns, channel, version), parted, raw)
                if parted.format == "msgpack" and msgpacked.is_snapshot(raw):
                    plain[channel] = True
        return plain

    def _add(self, key: Key, parted: Parted, raw: bytes) -> None:
        _, channel, version = key
        if self._met.get(channel) == (version, raw):
            return
        self._met[channel] = version, raw
        typed = _typed(parted.format, raw)
        found = self._target.conn.execute(BLOB, key).fetchone()
        if found is None:
            self._target.add(BLOBS, [(*key, *(self._seal.close(*typed) if parted.sealed else typed))])
        elif not alike(self._seal.open(*found), typed):
            self._contested.add(key)


def _of_msgpack(raw: bytes, *, sealed: bool) -> Parted:
    parts = msgpacked.members(raw)
    values = parts.pop("channel_values", msgpacked.NIL)
    sends = parts.get(SENDS, msgpacked.NIL)
    return Parted(
        "msgpack",
        sealed,
        {name: decode(part, ROOMY) for name, part in parts.items()},
        msgpacked.items(sends) if sends != msgpacked.NIL else [],
        msgpacked.members(values) if values != msgpacked.NIL else {},
    )


def _of_json(text: str, *, sealed: bool) -> Parted:
    parts = members(text)
    values = parts.pop("channel_values", "null")
    rest = {name: strict(part) for name, part in parts.items()}
    sends = [json.dumps(send).encode() for send in rest.get(SENDS) or ()]
    held = {name: part.encode() for name, part in members(values).items()} if values != "null" else {}
    return Parted("json", sealed, rest, sends, held)


def _as_official(parted: Parted, raw: bytes) -> Any:
    """Return a value that LangGraph's saver puts into the JSON; NOT_PLAIN for any other.

    LangGraph.js puts none there and reads none: what it wrote goes into rows, where both find it.
    """
    if parted.format != "msgpack" or parted.sealed or not msgpacked.is_leaf(raw):
        return NOT_PLAIN
    value = decode(raw, ROOMY)
    return value if is_plain(value) and packing.encode(value) == raw else NOT_PLAIN


def _in_json(parted: Parted, channel: str, version: str | None, raw: bytes) -> Any:
    """Return a value that has no other place than the JSON. Raises ValueError when that cannot hold it."""
    value = decode(raw, ROOMY) if parted.format == "msgpack" else strict(raw.decode())
    if parted.sealed or not is_exact(value) or (parted.format == "json" and has_objects(value)):
        why = "without a version" if version is None else "that differs from another one at its version"
        raise ValueError(f"PostgreSQL has no place for a value of {channel!r} {why}")
    return value


def _typed(format_: str, raw: bytes) -> tuple[str, bytes]:
    """Return a value's type and bytes as LangGraph's serializer writes it alone."""
    if format_ == "msgpack":
        if (payload := msgpacked.binary(raw)) is not None:
            return "bytes", payload
        if (payload := msgpacked.bytearray_of(raw)) is not None:
            return "bytearray", payload
    return format_, raw


def _version(version: Any) -> str | None:
    """Return a version as PostgreSQL's jsonb_each_text does."""
    if version is None or isinstance(version, str):
        return version
    return json.dumps(version)  # true, 5 or 5.0


def _metadata(stored: Any) -> str:
    if stored is None:
        return "{}"
    text = stored if isinstance(stored, str) else bytes(stored).decode()
    try:
        require_jsonb(text)
    except ValueError as error:
        raise ValueError(f"PostgreSQL cannot hold its metadata: {error}") from None
    return text


def _write(row: Row) -> Row:
    ns, id, task_id, idx, path, channel, kind, value = row
    _require_texts(ns, id, task_id, path, channel, kind)
    if not isinstance(idx, int) or not -(1 << 31) <= idx < 1 << 31 or not isinstance(value, bytes | str):
        raise ValueError("it has a write that is stored in a way that no release does")
    return (*row[:-1], value.encode() if isinstance(value, str) else value)


def _require_texts(*names: Any) -> None:
    for name in names:
        if not (name is None or (isinstance(name, str) and is_plain(name))):
            raise ValueError("one of its names is no text, or has a NUL character")


@contextmanager
def naming(id: Any) -> Iterator[None]:
    """Say which checkpoint cannot be copied, and why."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CopyRefused(f"Checkpoint {id!r} cannot be copied exactly: {why}.") from None
