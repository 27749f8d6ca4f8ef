"""What can be asked of an open store, whatever holds its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langgraph.checkpoint.base import BaseCheckpointSaver

    from checkpoints.branches import Tree
    from checkpoints.inert import InertSerializer
    from checkpoints.stores.forks import Belongings, Sizes
    from checkpoints.stores.records import (
        CheckpointRow,
        NamespaceRow,
        Overview,
        Search,
        ThreadPage,
        TimelinePage,
        WriteRow,
    )
    from checkpoints.stores.selection import Criteria, Head, Held, ThreadKey
    from checkpoints.stores.usage import Usage


class Store(Protocol):
    """One open store. Every answer is bounded in rows, bytes and time, and pages go by key."""

    @property
    def saver(self) -> BaseCheckpointSaver[Any]:
        """LangGraph's view of the same connection."""

    @property
    def serde(self) -> InertSerializer:
        """The serializer that reads this store's rows without running anything."""

    async def overview(self) -> Overview:
        """Tell what the store is, in numbers."""

    async def usage(self) -> Usage:
        """Tell where the bytes of the store go, within some seconds."""

    async def threads(
        self, *, before: str | None = None, limit: int = 50, search: Search | None = None
    ) -> ThreadPage:
        """Read a page of threads, most recently written first."""

    async def namespaces(self, thread_id: str) -> tuple[NamespaceRow, ...]:
        """List a thread's namespaces by name. Raises ThreadNotFound."""

    async def timeline(
        self,
        thread_id: str,
        ns: str,
        *,
        before: str | None = None,
        around: str | None = None,
        branch: str | None = None,
        limit: int = 50,
    ) -> TimelinePage:
        """Read a page of checkpoints before a key, or one with a few newer ones above `around`.

        With a `branch`, only of this checkpoint and its ancestors.
        """

    async def checkpoint_row(self, thread_id: str, ns: str, checkpoint_id: str) -> CheckpointRow:
        """Read one checkpoint. Raises CheckpointNotFound."""

    async def tree(self, thread_id: str, ns: str) -> Tree:
        """Read the tree of a namespace; of a long one, that of its newest checkpoints."""

    async def siblings(
        self, thread_id: str, ns: str, checkpoint_ids: Sequence[str]
    ) -> tuple[CheckpointRow, ...]:
        """Read several checkpoints within the budget of a page; those that are not there are left out."""

    async def writes(self, thread_id: str, ns: str, checkpoint_id: str) -> tuple[WriteRow, ...]:
        """Read the writes on one checkpoint in the saver's order."""

    async def head(self, thread_id: str, ns: str) -> str | None:
        """Return the greatest checkpoint id of a namespace."""

    async def belongings(self, thread_id: str, ns: str, checkpoint_id: str) -> tuple[Belongings, Sizes]:
        """Tell what a checkpoint is made of, and what copying it would write. Raises CheckpointNotFound."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that hold something of a thread."""

    async def existing(self, keys: Sequence[ThreadKey]) -> list[ThreadKey]:
        """Return those of these threads of which any table has a row."""

    async def candidates(self, criteria: Criteria) -> list[ThreadKey]:
        """List the threads that criteria may hold of by prefix and metadata; orphaned writes are threads."""

    async def narrowed(self, keys: Sequence[ThreadKey], criteria: Criteria) -> list[ThreadKey]:
        """Return those of these candidates of which all but the status holds, as far as rows tell."""

    async def heads(self, keys: Sequence[ThreadKey]) -> list[Head]:
        """Read the heads of a page of threads; none of an id that is no text."""

    async def held(self, keys: Sequence[ThreadKey]) -> list[tuple[ThreadKey, Held]]:
        """Add up what is held of these threads, in this order; those without a row are left out."""

    async def write_refusal(self) -> str | None:
        """Say why nothing can be written to the store, None where nothing is in the way."""

    async def change_probe(self) -> str:
        """Return a text that is another one when rows were written: cheap, for live views."""
