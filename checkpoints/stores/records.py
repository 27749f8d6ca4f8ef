"""What a store returns: rows as they are stored, undecoded, with what the SQL could count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from checkpoints.branches import UNKNOWN, Tree
from checkpoints.inert import Rotten

if TYPE_CHECKING:
    from checkpoints.inert import InertSerializer


class Size(NamedTuple):
    """How many rows, and about how many bytes they hold."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class ChannelRow:
    """A channel's value in a row of its own, shared by all checkpoints that have this version of it.

    `blob` is None where it is NULL and where it was skipped for its size in bytes.
    """

    name: str
    type: str
    blob: bytes | None
    size: int
    skipped: bool = False

    def value(self, serde: InertSerializer) -> Any:
        """Decode it, once for all checkpoints of a page. Never raises for what is stored."""
        if "_value" not in self.__dict__:
            self.__dict__["_value"] = self._decoded(serde)
        return self.__dict__["_value"]

    def _decoded(self, serde: InertSerializer) -> Any:
        if self.skipped:
            return Rotten(self.type, None, f"it is too large to decode here ({self.size:,} bytes)")
        return serde.loads_typed((self.type, self.blob))


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """One row of `checkpoints`.

    `blob` is None where the row holds NULL and where the read's byte budget left it out (`skipped`).
    `metadata` is bytes or text, as stored; None where it is NULL and where it was too large
    (`metadata_skipped`). `size` is the blob's length in bytes.

    In PostgreSQL `blob` is the JSON document, with the small values in it, `channels` are the other values
    and `size` is that of all together. In SQLite, where the blob holds everything, `channels` is None.
    """

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    type: str | None
    blob: bytes | None
    metadata: bytes | str | None
    size: int
    skipped: bool = False
    metadata_skipped: bool = False
    channels: tuple[ChannelRow, ...] | None = None

    @property
    def sealed(self) -> bool:
        """Whether some of the content is encrypted."""
        return any("+" in kind for kind in self._kinds)

    @property
    def plain(self) -> bool:
        """Whether some of the content is not, of what can be: in PostgreSQL the document never is."""
        return any("+" not in kind for kind in self._kinds)

    @property
    def _kinds(self) -> list[str]:
        return [self.type or ""] if self.channels is None else [each.type for each in self.channels]

    @property
    def weight(self) -> int:
        """The bytes that were read and are to be decoded."""
        return len(self.blob or b"") + sum(len(channel.blob or b"") for channel in self.channels or ())


@dataclass(frozen=True, slots=True)
class WriteRow:
    """One row of `writes`. `value` is None where it is NULL or was skipped for its size."""

    checkpoint_id: str
    task_id: str
    task_path: str
    idx: int
    channel: str
    type: str | None
    value: bytes | None
    size: int
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """A thread as the list of threads shows it.

    `activity` is the key of paging: passed as `before` it continues the list after this thread. `head`
    is the greatest checkpoint id of the root namespace (of the greatest namespace where there is no root);
    None when the thread has only orphaned writes. `first` is the oldest checkpoint of the same namespace.
    With `at_least` the thread has more checkpoints or namespaces than were counted.
    """

    thread_id: str
    checkpoints: int
    namespaces: int
    activity: str
    head: CheckpointRow | None
    first: CheckpointRow | None
    head_writes: tuple[WriteRow, ...] = ()
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """A page of threads, most recently written first.

    `before` continues the list (pass it as `before`), None at its end. `bound` is a sentence about a bound
    that the read hit, so that the page can say so. `hint` is how the store's owner could make it faster.
    """

    threads: tuple[ThreadRow, ...]
    before: str | None = None
    bound: str | None = None
    hint: Hint | None = None


@dataclass(frozen=True, slots=True)
class Hint:
    """What would make reading faster, and the statement that does it. Nobody but the reader runs it."""

    sentence: str
    command: str


@dataclass(frozen=True, slots=True)
class NamespaceRow:
    """A checkpoint namespace of a thread: how many checkpoints (or more), and the greatest and least id."""

    checkpoint_ns: str
    checkpoints: int
    head_id: str
    first_id: str
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """A page of checkpoints of one namespace, greatest id first, each with its writes in the saver's order.

    `older` and `newer` are the keys of the neighbouring pages: None at the ends, and `newer` is the empty
    text where the newer page is the first one. `parents` are the rows
    (without blob unless in budget) of parents that are not on the page, by id; a parent that is in neither
    is missing from the store. `writes` are those of the page and of these parents, by checkpoint id. An id
    that is a BLOB or no UTF-8 is shown with U+FFFD; no checkpoint can be asked for by it.

    `tree` is what is known of the namespace's tree, and `tips` are the rows of its newest tips, without their
    states, where there are several.
    """

    checkpoints: tuple[CheckpointRow, ...]
    writes: dict[str, tuple[WriteRow, ...]] = field(default_factory=dict)
    parents: dict[str, CheckpointRow] = field(default_factory=dict)
    tree: Tree = UNKNOWN
    tips: tuple[CheckpointRow, ...] = ()
    older: str | None = None
    newer: str | None = None
    bound: str | None = None

    @property
    def weight(self) -> int:
        """The bytes that were read and are to be decoded."""
        rows = (*self.checkpoints, *self.parents.values())
        writes = (write for found in self.writes.values() for write in found)
        return sum(row.weight for row in rows) + sum(len(write.value or b"") for write in writes)


@dataclass(frozen=True, slots=True)
class Overview:
    """What a store is, in numbers. `threads` is exact, or a lower bound with `threads_at_least`.

    `journal_mode` and `log_bytes` are of SQLite; `server` is the version of a PostgreSQL server, which may be
    a `standby`.
    """

    name: str
    location: str
    bytes: int
    threads: int
    threads_at_least: bool = False
    journal_mode: str = ""
    log_bytes: int = 0
    server: str = ""
    standby: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for. `thread_id` is a substring; `metadata` a key and its value as text."""

    thread_id: str | None = None
    metadata: tuple[str, str] | None = None
