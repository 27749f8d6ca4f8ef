"""What a store is, and what of it cannot be read: numbers and names, never content, never ids."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one table.

    `types` counts rows by stored type. `closed` counts those that were not looked into, by reason: they may
    be whole. `rotten` counts those of which something cannot be read, by reason. Sizes are bytes.
    """

    name: str
    rows: int = 0
    bytes: int = 0
    largest: int = 0
    types: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    rotten: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known of a store.

    `problems` are sentences, none when every row can be read. `threads` and `namespaces` are None where they
    could not be counted; a problem says why. Sizes are bytes.
    """

    name: str
    era: str
    journal_mode: str
    bytes: int
    wal_bytes: int
    threads: int | None
    namespaces: int | None
    tables: tuple[Table, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems
