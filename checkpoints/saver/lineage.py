"""Lineage: the chain of parents above a checkpoint, and what a DeltaChannel's value is made of along it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from langgraph.checkpoint.base import get_checkpoint_id

from checkpoints.saver.addresses import place

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from langchain_core.runnables import RunnableConfig

    from checkpoints.saver.tables import Tables
    from checkpoints.statements import Operation, Row

PAGE_BYTES = 8 * 2**20


class Ancestor(Protocol):
    """A checkpoint above another one."""

    @property
    def checkpoint_id(self) -> str: ...
    @property
    def parent_checkpoint_id(self) -> str | None: ...
    @property
    def size(self) -> int:
        """The bytes that were read of it."""

    def held(self) -> Collection[str]:
        """Return the channels whose value it holds."""


class Ancestors:
    """The ancestors of a checkpoint, nearest first, page by page.

    Links are followed, not ids: only the clock of one process sorts them. The chain ends at a root, at a
    parent that is gone, or where it would loop. `read` returns so many of it from an id on; there are
    `first` on the first page, then more and more, at most `most`.
    """

    def __init__(
        self,
        read: Callable[[str, int], Operation[Sequence[Ancestor]]],
        link: Row,
        first: int,
        most: int,
    ) -> None:
        checkpoint_id, self._next = link
        self._read = read
        self._seen = {checkpoint_id}
        self._wanted, self._most = first, most

    @property
    def ended(self) -> bool:
        """Whether there are no more."""
        return not self._next

    def page(self) -> Operation[list[Ancestor]]:
        """Return the next ones."""
        assert self._next
        page = yield from self._read(self._next, self._wanted)
        self._next = page[-1].parent_checkpoint_id if page else None
        new = [ancestor for ancestor in page if self._is_new(ancestor.checkpoint_id)]
        if len(new) < len(page):  # a loop
            self._next = None
        size = sum(ancestor.size for ancestor in page)
        self._wanted = max(1, min(2 * len(page), self._most, len(page) * PAGE_BYTES // max(size, 1)))
        return new

    def _is_new(self, checkpoint_id: str) -> bool:
        known = checkpoint_id in self._seen
        self._seen.add(checkpoint_id)
        return not known


class StoredHistory:
    """One channel above a checkpoint: the ancestors, nearest first, back to the one that holds a value."""

    def __init__(self) -> None:
        self.chain: list[str] = []
        self.seed: Any = None  # the ancestor that holds a value
        self.writes: list[Row] = []  # task, channel, type, value; oldest first


def delta_history(
    tables: Tables[Any], config: RunnableConfig, channels: Sequence[str]
) -> Operation[dict[str, StoredHistory]]:
    """Return the history of each channel above the checkpoint that the config names, or above the head."""
    thread_id, checkpoint_ns = place(config)
    link = yield from tables.link(thread_id, checkpoint_ns, get_checkpoint_id(config))
    ancestors = tables.ancestors(thread_id, checkpoint_ns, link, channels)
    histories = yield from walk(ancestors, channels)
    yield from tables.complete(thread_id, checkpoint_ns, histories)
    return histories


def walk(ancestors: Ancestors, channels: Iterable[str]) -> Operation[dict[str, StoredHistory]]:
    """Return each channel's chain, without its writes, reading no further than the last channel needs."""
    histories = {channel: StoredHistory() for channel in channels}
    missing = dict(histories)
    while missing and not ancestors.ended:
        for ancestor in (yield from ancestors.page()):
            for history in missing.values():
                history.chain.append(ancestor.checkpoint_id)
            for channel in missing.keys() & ancestor.held():
                missing.pop(channel).seed = ancestor
            if not missing:
                break
    return histories
