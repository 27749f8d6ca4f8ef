"""Forks in place in a SQLite file, where a checkpoint is one value with all of its state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from checkpoints.errors import CheckpointChanged, CheckpointNotFound, NotWritable
from checkpoints.splicing.formats import FORMATS, Format
from checkpoints.splicing.jsontext import joined, members
from checkpoints.statements import Operation, Statement
from checkpoints.stores.records import Size
from checkpoints.stores.siblings import (
    as_stored,
    metadata_of_fork,
    readable,
    step_of,
    storable,
    version_after,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checkpoints.splicing.seals import Seal

_KEY = "thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = ?3"
_SOURCE = f"SELECT parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints WHERE {_KEY}"
_SAME = f"SELECT 1 FROM checkpoints WHERE {_KEY} AND type IS ?4 AND checkpoint IS ?5 AND metadata IS ?6"
_INSERT = """
INSERT INTO checkpoints
    (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""


class Source(NamedTuple):
    """The row of a checkpoint that is to be copied."""

    key: tuple[str, str, str]
    parent: str | None
    type: Any
    checkpoint: Any
    metadata: Any

    @property
    def content(self) -> Any:
        """What `CheckpointRow.blob` is of this row."""
        return self.checkpoint.encode() if isinstance(self.checkpoint, str) else self.checkpoint


def source(thread_id: str, checkpoint_ns: str, id: str) -> Operation[Source]:
    """Read what a draft needs of a checkpoint. Raises CheckpointNotFound."""
    key = thread_id, checkpoint_ns, id
    rows = yield Statement(_SOURCE, key)
    if not rows:
        raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
    return Source(key, *rows[0])


class SqliteDraft:
    """A copy of a checkpoint: parts of its value are replaced, all others keep their bytes."""

    def __init__(
        self, source: Source, values: Mapping[str, Any], note: Mapping[str, str], seal: Seal
    ) -> None:
        self._source, self._seal = source, seal
        metadata = _decoded(source.metadata)
        self.step = step_of(metadata)
        with readable():
            self._format, self._parts, self._sealed = _taken_apart(source, seal)
            held, versions = (self._map(name) for name in ("channel_values", "channel_versions"))
            if "updated_channels" in self._parts or self._is_current():
                # All channels may have changed, as far as the next superstep knows: it looks at each.
                self._parts["updated_channels"] = self._format.pack(None)
        if values:
            self._edit(values, metadata, held, versions)
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
        if (yield Statement("SELECT changes()")) != [(1,)]:
            raise NotWritable("The store took no row.", advice="A trigger of its owner is in the way.")
        return {"checkpoints": Size(1, len(value) + len(self._metadata))}

    def _is_current(self) -> bool:
        """Tell whether it is a checkpoint of version 4, whose successors name the channels that moved."""
        version = self._format.unpack(self._parts["v"]) if "v" in self._parts else 0
        return self._format is FORMATS["msgpack"] and isinstance(version, int) and version >= 4

    def _map(self, name: str) -> dict[str, bytes]:
        return self._format.split(self._parts[name]) if name in self._parts else {}

    def _edit(
        self,
        values: Mapping[str, Any],
        metadata: Mapping[str, Any],
        held: dict[str, bytes],
        versions: dict[str, bytes],
    ) -> None:
        with readable():
            known = {name: self._format.unpack(raw) for name, raw in versions.items()}
            version = self._format.pack(version_after(known))
        for channel, value in values.items():
            with storable(channel):
                stored = as_stored(value, channel, metadata, held=channel in held)
                held[channel] = self._format.pack(stored)
            versions[channel] = version
        self._parts["channel_values"] = self._format.join(held)
        self._parts["channel_versions"] = self._format.join(versions)


def _taken_apart(source: Source, seal: Seal) -> tuple[Format, dict[str, bytes], bool]:
    """Return the format of a stored checkpoint, its parts, and whether it is encrypted."""
    kind, stored = source.type, source.checkpoint
    if not isinstance(kind, str) or not isinstance(stored, bytes | str):
        raise ValueError("it is stored in a way that no release does")
    format_, raw = seal.open(kind, stored.encode() if isinstance(stored, str) else stored)
    if format_ not in FORMATS:
        raise ValueError(f"it is stored as {format_!r}")
    return FORMATS[format_], FORMATS[format_].split(raw), format_ != kind


def _decoded(metadata: Any) -> dict[str, Any]:
    try:
        found = json.loads(_text(metadata))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _spliced(metadata: Any, fresh: Mapping[str, Any], left: tuple[str, ...]) -> bytes:
    """Return metadata with some keys anew and some left out; the others keep their bytes."""
    try:
        kept = {name: part for name, part in members(_text(metadata)).items() if name not in left}
    except (ValueError, RecursionError):
        kept = {}
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in fresh.items()}
    return joined({**kept, **texts}).encode("utf-8", "surrogatepass")


def _text(metadata: Any) -> str:
    if isinstance(metadata, bytes):
        return metadata.decode(json.detect_encoding(metadata), "surrogatepass")
    return metadata if isinstance(metadata, str) else "{}"
