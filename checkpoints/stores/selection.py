"""What threads are selected by, and what a store holds of each."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from checkpoints.snapshot import id_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from checkpoints.stores.records import CheckpointRow, WriteRow

TABLES = ("checkpoints", "writes", "blobs")
MARK_BYTES = 12


@dataclass(frozen=True, slots=True)
class Criteria:
    """What must hold of a thread, all of it together. What is empty or None asks nothing.

    `thread_ids` are whole ids and `prefix` is how an id begins, to the letter. Each pair of `metadata`, a key
    and its value as text, is in some checkpoint of the thread, in any namespace and not all in the same one.
    No checkpoint is younger than `idle_since`. `status` is that of the head as `checkpoints.status` derives
    it, or `ORPHANED`. `every` says that a selection by nothing else is meant.
    """

    thread_ids: tuple[str, ...] = ()
    prefix: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    idle_since: datetime | None = None
    status: str | None = None
    every: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """One thread as a store holds it: rows and bytes by table, in all namespaces.

    The bytes are those of the columns with content, as stored: of PostgreSQL's documents after compression.
    In SQLite there are no `blobs`. `newest` is the greatest checkpoint id: of the writes where there is no
    checkpoint, empty where there are nothing but blobs.

    `mark` is another text when a row was added, removed or put again since.
    """

    thread_id: str
    checkpoints: int
    writes: int
    blobs: int
    checkpoint_bytes: int
    write_bytes: int
    blob_bytes: int
    namespaces: int
    newest: str
    mark: str

    @property
    def activity(self) -> datetime | None:
        """The time in the newest id, None where it has none."""
        return id_time(self.newest)

    @property
    def rows(self) -> int:
        return self.checkpoints + self.writes + self.blobs

    @property
    def bytes(self) -> int:
        return self.checkpoint_bytes + self.write_bytes + self.blob_bytes


class ThreadKey(NamedTuple):
    """A thread id as a database holds it: a text by its bytes, or what SQLite admits beside texts.

    Only a thread whose id is readable text can be asked for by its id, by whatever program.
    """

    raw: bytes | int | float
    kind: str = "text"

    @classmethod
    def of_text(cls, thread_id: str) -> ThreadKey:
        """Raises UnicodeEncodeError for what no store can hold."""
        return cls(thread_id.encode())

    @property
    def text(self) -> str | None:
        """The id, None where it is no readable text."""
        if self.kind != "text" or not isinstance(self.raw, bytes):
            return None
        try:
            return self.raw.decode()
        except UnicodeDecodeError:
            return None

    @property
    def shown(self) -> str:
        """The id, or its type and what it is made of."""
        if (text := self.text) is not None:
            return text
        return f"{self.kind}:{self.raw.hex() if isinstance(self.raw, bytes) else self.raw}"

    def begins(self, prefix: str, *, any_case: bool = False) -> bool:
        """Tell whether the id begins like this; of ASCII letters in either case, if that is asked."""
        raw, start = self.raw if self.kind == "text" and isinstance(self.raw, bytes) else b"", prefix.encode()
        return raw.lower().startswith(start.lower()) if any_case else raw.startswith(start)


class Head(NamedTuple):
    """The checkpoint that stands for a thread, None where it has only writes, with its pending writes."""

    key: ThreadKey
    row: CheckpointRow | None
    writes: tuple[WriteRow, ...] = ()


Part: TypeAlias = tuple[int, str, int, int, str, int]
"""What one table has of a thread in one namespace: the table's place in `TABLES`, the namespace, rows, bytes,
the newest checkpoint's id, and a number that is another one when a row was put there."""


def added_up(
    keys: Iterable[ThreadKey], found: Mapping[ThreadKey, Sequence[Part]]
) -> list[tuple[ThreadKey, Held]]:
    """Add up what the tables have of each of these threads, in this order; without a row there is none."""
    return [(key, _held(key, found[key])) for key in keys if found.get(key)]


def _held(key: ThreadKey, parts: Sequence[Part]) -> Held:
    rows, sizes, newest, namespaces = [0, 0, 0], [0, 0, 0], ["", "", ""], set()
    for table, ns, count, size, id, _ in parts:
        rows[table] += count
        sizes[table] += size
        namespaces.add(ns)
        if id > newest[table]:
            newest[table] = id
    return Held(
        key.shown,
        checkpoints=rows[0],
        writes=rows[1],
        blobs=rows[2],
        checkpoint_bytes=sizes[0],
        write_bytes=sizes[1],
        blob_bytes=sizes[2],
        namespaces=len(namespaces),
        newest=newest[0] or newest[1],
        mark=_mark(parts),
    )


def _mark(parts: Iterable[Part]) -> str:
    told = repr(sorted(parts)).encode(errors="replace")
    return blake2b(told, digest_size=MARK_BYTES).hexdigest()
