"""What a saver asks of its tables, whichever database holds them.

Reading and writing are operations. What is decoded is decoded after them, on the caller's side: a hop to a
database's thread carries rows only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
        DeltaChannelHistory,
    )

    from checkpoints.saver.lineage import Ancestors, StoredHistory
    from checkpoints.statements import Operation, Row

S = TypeVar("S", bound="Stored")


class Stored(Protocol):
    """A checkpoint as it is stored: its row and what belongs to it, undecoded."""

    @property
    def thread_id(self) -> str: ...
    @property
    def checkpoint_ns(self) -> str: ...
    @property
    def checkpoint_id(self) -> str: ...
    @property
    def size(self) -> int:
        """The bytes that it takes."""


class Search(Protocol[S]):
    """What a listing selects, in the order in which it is listed.

    A page begins with the `first` checkpoints; with `at_once` so many as were asked for come together.
    """

    first: int
    at_once: bool
    in_one_stretch: bool

    def stretch(self, last: Row | None, limit: int) -> Operation[list[S]]:
        """Return the checkpoints after `last` (thread, namespace, id, tie), where they are a stretch."""

    def keys(self, last: Row | None, limit: int) -> Operation[list[Row]]:
        """Return the keys (thread, namespace, id) after `last`, each with what breaks a tie."""

    def find_all(self, keys: Sequence[Row]) -> Operation[list[S]]:
        """Return the checkpoints with these keys that exist, in the order of the keys."""


class Runs(Protocol):
    """Finds the checkpoints of runs before any lock, page by page, and deletes them."""

    ended: bool

    def page(self) -> Operation[None]:
        """Read the next page."""

    def delete(self) -> Operation[None]:
        """Delete what was found. Raises HistoryNeeded, before anything is deleted."""


@dataclass(frozen=True, slots=True)
class Described:
    """What a checkpoint says about itself, without its values.

    `held` are the channels that it has a value of, `versioned` those that it has a version of; `root_id` is
    the root graph's checkpoint from which this subgraph was called.
    """

    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    version: Any
    held: Collection[str]
    versioned: Collection[str]
    root_id: str | None


class Tables(Protocol[S]):
    """The tables of one database, with the serializer of one saver."""

    def get(self, config: RunnableConfig) -> Operation[S | None]:
        """Return the checkpoint that the config names; without an id, the head of the namespace."""

    def decode(self, stored: S, config: RunnableConfig | None = None) -> CheckpointTuple:
        """Return the tuple that LangGraph reads; `config` is what it was asked for with."""

    def search(
        self, config: RunnableConfig | None, filter: dict[str, Any] | None, before: RunnableConfig | None
    ) -> Search[S]:
        """Return what a listing with these parameters selects."""

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Callable[[], Operation[None]]:
        """Encode a checkpoint and return what stores it."""

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Callable[[], Operation[None]]:
        """Encode the writes of a task and return what stores them."""

    def delete_thread(self, thread_id: str) -> Operation[None]:
        """Delete all rows of a thread."""

    def copy_thread(self, source: str, target: str) -> Operation[None]:
        """Copy all rows of a thread, byte for byte. Raises ThreadNotFound or ThreadExists."""

    def runs(self, run_ids: Iterable[str]) -> Runs:
        """Return a search for the checkpoints of these runs."""

    # The parts of a history.

    def link(self, thread_id: str, checkpoint_ns: str, id: str | None) -> Operation[Row]:
        """Return the id and the parent of a checkpoint, or of the head; (None, None) where there is none."""

    def ancestors(
        self, thread_id: str, checkpoint_ns: str, link: Row, channels: Collection[str]
    ) -> Ancestors:
        """Return the ancestors of a checkpoint, which know which of the channels they hold."""

    def complete(
        self, thread_id: str, checkpoint_ns: str, histories: dict[str, StoredHistory]
    ) -> Operation[None]:
        """Read the writes along the chains, and the values where those begin."""

    def decode_history(self, histories: dict[str, StoredHistory]) -> dict[str, DeltaChannelHistory]:
        """Return what LangGraph replays."""

    # The parts of pruning.

    def heads(self, thread_id: str) -> Operation[Sequence[Described]]:
        """Return the newest checkpoint of each namespace."""

    def describe(self, thread_id: str, checkpoint_ns: str, id: str) -> Operation[Described]:
        """Return what one checkpoint says about itself."""

    def existing(
        self, thread_id: str, checkpoint_ns: str, ids: Collection[str]
    ) -> Operation[Collection[str]]:
        """Return those of these checkpoints that there are."""

    def links(self, thread_id: str, checkpoint_ns: str) -> Operation[Mapping[str, str | None]]:
        """Return the parent of each checkpoint of a namespace, by id."""

    def counted(self, thread_id: str) -> Operation[Mapping[str, Collection[str]]]:
        """Return, by namespace, the DeltaChannels that LangGraph ever counted the updates of.

        A graph counts its own: the one that wrote the head may not have them all.
        """

    def written(self, thread_id: str, checkpoint_ns: str) -> Operation[Collection[str]]:
        """Return the channels that have pending writes in a namespace."""

    def oldest_write(
        self, thread_id: str, checkpoint_ns: str, chain: Sequence[str], channel: str
    ) -> Operation[int | None]:
        """Return the place in the chain of the last checkpoint that has writes to the channel."""

    def has_sends(self, thread_id: str, checkpoint_ns: str, id: str) -> Operation[bool]:
        """Tell whether tasks were sent from a checkpoint."""

    def delete_checkpoints(self, thread_id: str, checkpoint_ns: str, ids: Collection[str]) -> Operation[None]:
        """Delete checkpoints of a namespace with their writes. One whose parent goes is left with none."""

    def delete_namespaces(self, thread_id: str, namespaces: Collection[str]) -> Operation[None]:
        """Delete all rows of some namespaces."""
