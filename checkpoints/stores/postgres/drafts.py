"""Forks in place in a PostgreSQL database, where a checkpoint is a document and values that others share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from checkpoints.errors import CheckpointChanged, CheckpointNotFound
from checkpoints.inert import InertSerializer
from checkpoints.postgres.codec import EMPTY
from checkpoints.splicing.formats import FORMATS
from checkpoints.splicing.jsontext import is_plain
from checkpoints.statements import Operation, Statement
from checkpoints.stores.records import Size
from checkpoints.stores.siblings import (
    as_stored,
    is_snapshot,
    metadata_of_fork,
    readable,
    step_of,
    storable,
    version_after,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from checkpoints.splicing.seals import Seal

_KEY = "thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND checkpoint_id = %(id)s"
_SOURCE = f"""
SELECT checkpoint::text, metadata::text,
       ARRAY(SELECT held.key
             FROM jsonb_each_text(CASE jsonb_typeof(checkpoint -> 'channel_versions')
                                  WHEN 'object' THEN checkpoint -> 'channel_versions' ELSE '{{}}' END) AS held
             CROSS JOIN LATERAL (
                 SELECT 1 FROM checkpoint_blobs
                 WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND channel = held.key
                   AND version = held.value AND type <> '{EMPTY}' LIMIT 1) AS found)
FROM checkpoints WHERE {_KEY}
"""
# Of the whole thread: a checkpoint whose values are all plain does not tell how its others are stored.
_KINDS = """
SELECT type FROM checkpoint_blobs WHERE thread_id = %(thread)s
UNION SELECT type FROM checkpoint_writes WHERE thread_id = %(thread)s
"""
_VERSIONS = """
SELECT DISTINCT version FROM checkpoint_blobs
WHERE thread_id = %(thread)s AND checkpoint_ns = %(ns)s AND channel = ANY(%(edited)s::text[])
"""
# The document and the metadata never leave the server, so what they keep is what it was.
_PUT = f"""
INSERT INTO checkpoints
    (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
SELECT thread_id, checkpoint_ns, %(new_id)s, parent_checkpoint_id, type, checkpoint || {{patch}},
       (CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{{{{}}}}' END - %(left)s::text[])
       || %(fresh)s::jsonb
FROM checkpoints
WHERE {_KEY} AND checkpoint::text = %(document)s AND metadata::text = %(metadata)s
RETURNING pg_column_size(checkpoint) + pg_column_size(metadata)
"""
_PATCH = "%(patch)s::jsonb"
_PATCH_VALUES = """
%(patch)s::jsonb || jsonb_build_object(
    'channel_values', (CASE jsonb_typeof(checkpoint -> 'channel_values') WHEN 'object'
                       THEN checkpoint -> 'channel_values' ELSE '{}' END - %(edited)s::text[])
                      || %(plain)s::jsonb,
    'channel_versions', (CASE jsonb_typeof(checkpoint -> 'channel_versions') WHEN 'object'
                         THEN checkpoint -> 'channel_versions' ELSE '{}' END) || %(versions)s::jsonb)
"""
_BLOB = """
INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
VALUES (%s, %s, %s, %s, %s, %s)
"""


class Source(NamedTuple):
    """A checkpoint that is to be copied: its document and metadata, and which channels have rows.

    Of its thread, where values are edited: the `kinds` of stored values, and the versions that are `taken`.
    """

    key: Mapping[str, str]
    document: str
    metadata: str
    held: frozenset[str]
    kinds: frozenset[str]
    taken: frozenset[str]

    @property
    def content(self) -> bytes:
        """What `CheckpointRow.blob` is of this row."""
        return self.document.encode()

    @property
    def sealed(self) -> bool:
        """Whether the thread is encrypted."""
        return any("+" in kind for kind in self.kinds)

    @property
    def is_json(self) -> bool:
        """Whether LangGraph.js wrote it, which reads no value from the document."""
        formats = {kind.partition("+")[0] for kind in self.kinds}
        return "json" in formats and formats <= {"json", "null", EMPTY}


def source(thread_id: str, checkpoint_ns: str, id: str, edited: Collection[str]) -> Operation[Source]:
    """Read what a draft needs of a checkpoint. Raises CheckpointNotFound."""
    key = {"thread": thread_id, "ns": checkpoint_ns, "id": id}
    rows = yield Statement(_SOURCE, key)
    if not rows:
        raise CheckpointNotFound("There is no such checkpoint in this thread and namespace.")
    [(document, metadata, held)] = rows
    kinds: Iterable[Any] = ()
    taken: Iterable[Any] = ()
    if edited:
        kinds = yield Statement(_KINDS, key)
        taken = yield Statement(_VERSIONS, {**key, "edited": list(edited)})
    return Source(
        key,
        document,
        metadata,
        frozenset(held),
        frozenset(kind for (kind,) in kinds if kind),
        frozenset(version for (version,) in taken),
    )


class PostgresDraft:
    """A copy of a checkpoint: a row that shares the values of the other, and new ones of what is edited."""

    def __init__(
        self, source: Source, values: Mapping[str, Any], note: Mapping[str, str], seal: Seal
    ) -> None:
        self._source, self._seal = source, seal
        with readable():
            document, metadata = _object(source.document), _metadata(source.metadata)
            version = document.get("v")
            current = isinstance(version, int) and version >= 4 and not source.is_json
        self.step = step_of(metadata)
        self._fresh, self._left = metadata_of_fork(metadata, note, values)
        self._patch: dict[str, Any] = {}
        if "updated_channels" in document or current:
            self._patch["updated_channels"] = None
        self._plain: dict[str, Any] = {}
        self._blobs: list[tuple[str, str, str, bytes]] = []
        self._versions: dict[str, Any] = {}
        if values:
            self._edit(values, document, metadata)

    def put(self, id: str, ts: str) -> Operation[dict[str, Size]]:
        source = self._source
        rows = yield Statement(self._sql, self._parameters(id, ts))
        if not rows:
            raise CheckpointChanged("The checkpoint has changed meanwhile, or was deleted.")
        for blob in self._blobs:
            try:
                yield Statement(_BLOB, (source.key["thread"], source.key["ns"], *blob))
            except UniqueViolation:  # an agent has just given a value this version
                raise CheckpointChanged("The thread has moved on meanwhile.") from None
        sizes = {"checkpoints": Size(1, rows[0][0])}
        if self._blobs:
            sizes["checkpoint_blobs"] = Size(len(self._blobs), sum(len(blob) for *_, blob in self._blobs))
        return sizes

    @property
    def _sql(self) -> str:
        return _PUT.format(patch=_PATCH_VALUES if self._versions else _PATCH)

    def _parameters(self, id: str, ts: str) -> dict[str, Any]:
        source = self._source
        edits = {
            "edited": list(self._versions),
            "plain": Jsonb(self._plain),
            "versions": Jsonb(self._versions),
        }
        return {
            **source.key,
            "new_id": id,
            "patch": Jsonb({**self._patch, "id": id, "ts": ts}),
            "left": list(self._left),
            "fresh": Jsonb(self._fresh),
            "document": source.document,
            "metadata": source.metadata,
            **(edits if self._versions else {}),
        }

    def _edit(
        self, values: Mapping[str, Any], document: Mapping[str, Any], metadata: Mapping[str, Any]
    ) -> None:
        source = self._source
        known, plain = (_mapping(document.get(name)) for name in ("channel_versions", "channel_values"))
        with readable():
            version = _free(version_after(known), source.taken)
        for channel, value in values.items():
            with storable(channel):
                held = channel in source.held or channel in plain
                stored = as_stored(value, channel, metadata, held=held)
                self._put_value(channel, version, stored)
            self._versions[channel] = version

    def _put_value(self, channel: str, version: Any, value: Any) -> None:
        source = self._source
        if is_plain(value) and not source.sealed and not source.is_json:
            json.dumps(value)  # no number is too long
            self._plain[channel] = value
            return
        if is_snapshot(value):
            self._plain[channel] = True
        kind, raw = ("json", FORMATS["json"].pack(value)) if source.is_json else _typed(value)
        if source.sealed:
            kind, raw = self._seal.close(kind, raw)
        self._blobs.append((channel, _as_text(version), kind, raw))


def _typed(value: Any) -> tuple[str, bytes]:
    return InertSerializer().dumps_typed(value)


def _free(version: Any, taken: Collection[str]) -> Any:
    """Return a version that no value of these channels has: LangGraph.js counts alike on all branches."""
    while _as_text(version) in taken:
        version += 1
    return version


def _as_text(version: Any) -> str:
    return version if isinstance(version, str) else json.dumps(version)


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    return found


def _metadata(text: str) -> dict[str, Any]:
    return _mapping(json.loads(text))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
