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

    `problems` are sentences, none when every row can be read; `notes` are of what is no trouble, but could be
    better. `threads` and `namespaces` are None where they could not be counted; a problem says why. Sizes are
    bytes. `server` is a PostgreSQL's version; `journal_mode` and `wal_bytes` are of SQLite.
    """

    name: str
    era: str
    bytes: int
    threads: int | None
    namespaces: int | None
    tables: tuple[Table, ...]
    problems: tuple[str, ...]
    journal_mode: str = ""
    wal_bytes: int = 0
    server: str = ""
    standby: bool = False
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems
