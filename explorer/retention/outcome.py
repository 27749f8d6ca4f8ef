"""What came of rules, or would: as lines for people and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from checkpoints.stores.location import printable
from explorer.wording import count, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from checkpoints.selection import Held
    from explorer.retention.rules import Found

NAMED: Final = 20  # threads that are shown by their ids
SHORT: Final = {"checkpoint_writes": "writes", "checkpoint_blobs": "blobs"}  # PostgreSQL's tables


@dataclass(slots=True)
class Part:
    """Of so many threads these rows go, by table, and about so many bytes."""

    threads: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    bytes: int = 0

    def told(self) -> dict[str, Any]:
        return {"threads": self.threads, "rows": dict(+self.rows), "bytes": self.bytes}

    def add(self, rows: Mapping[str, int]) -> None:
        """Add rows by table, whatever the kind of store calls it."""
        self.rows.update({SHORT.get(table, table): number for table, number in rows.items()})


@dataclass(slots=True)
class Outcome:
    """What went, or would go: idle threads, and what newest checkpoints did not need.

    `refused` says of threads why they stayed whole, `changed` counts those that were written meanwhile.
    """

    store: str
    dry_run: bool
    deleted: Part = field(default_factory=Part)
    pruned: Part = field(default_factory=Part)
    refused: dict[str, str] = field(default_factory=dict)
    changed: int = 0
    trouble: str = ""
    deletion: str = ""
    not_erased: str = ""
    idle: tuple[Held, ...] = ()

    @classmethod
    def foreseen(cls, store: str, found: Found) -> Outcome:
        """Return what would go."""
        outcome = cls(store, dry_run=True, idle=found.idle)
        outcome.deleted = part_of(found.idle)
        said = found.forecast
        outcome.pruned = Part(said.threads, bytes=said.bytes)
        outcome.pruned.add(said.rows)
        outcome.refused = {thread_id: error.sentence for thread_id, error in said.refused.items()}
        return outcome

    @property
    def failed(self) -> bool:
        """Whether something that was to go is still there, for another reason than an agent at work."""
        return bool(self.refused or self.trouble)

    def as_json(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "dry_run": self.dry_run,
            "deleted": self.deleted.told() | {"deletion": self.deletion or None},
            "idle_threads": [thread.thread_id for thread in self.idle],
            "pruned": self.pruned.told(),
            "changed": self.changed,
            "refused": self.refused,
            "trouble": self.trouble or None,
            "not_erased": self.not_erased or None,
        }

    def lines(self) -> Iterator[str]:
        """Return what is printed: of a dry run all that would go, else one line."""
        if self.dry_run:
            yield from self._largest()
            yield from _rows("idle threads", self.deleted.rows)
            yield from _rows("earlier checkpoints", self.pruned.rows)
        yield self.summary
        if self.not_erased:
            yield self.not_erased

    @property
    def summary(self) -> str:
        deleted, kept = ("would delete", "would keep") if self.dry_run else ("deleted", "kept")
        parts = [
            f"{deleted} {count(self.deleted.threads, 'idle thread')} ({_sum(self.deleted)})",
            (
                f"{kept} only the newest checkpoints of {count(self.pruned.threads, 'thread')}"
                f" ({_sum(self.pruned)} less)"
            ),
        ]
        shown = [text for text, part in zip(parts, (self.deleted, self.pruned), strict=True) if part.threads]
        if self.changed:
            shown.append(f"left {count(self.changed, 'thread')} that an agent has written to meanwhile")
        told = ", ".join(shown) or "nothing is to go"
        return f"{printable(self.store)}: {told}."

    def _largest(self) -> Iterator[str]:
        largest = sorted(self.idle, key=lambda thread: -thread.bytes)
        for thread in largest[:NAMED]:
            yield f"  {printable(thread.thread_id)}: {count(thread.rows, 'row')}, {size(thread.bytes)}"
        if len(largest) > NAMED:
            yield f"  and {count(len(largest) - NAMED, 'more idle thread')}"

    def complaints(self) -> Iterator[str]:
        """Return what stood in the way."""
        yield from list(self.refused.values())[:NAMED]
        if (more := len(self.refused) - NAMED) > 0:
            yield f"And so of {count(more, 'more thread')}."
        if self.trouble:
            yield self.trouble


def part_of(threads: Sequence[Held]) -> Part:
    """Add up whole threads."""
    rows: Counter[str] = Counter()
    for thread in threads:
        rows.update(checkpoints=thread.checkpoints, writes=thread.writes, blobs=thread.blobs)
    return Part(len(threads), rows, sum(thread.bytes for thread in threads))


def _rows(what: str, rows: Mapping[str, int]) -> Iterator[str]:
    for table, number in rows.items():
        if number:
            yield f"  {what}, {table}: {count(number, 'row')}"


def _sum(part: Part) -> str:
    return f"{count(part.rows.total(), 'row')}, {size(part.bytes)}"
