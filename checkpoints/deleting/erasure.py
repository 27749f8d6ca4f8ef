"""Erasing: what was deleted leaves the files, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores.location import Location

Obstacle: TypeAlias = Literal[
    "", "reader", "locked", "agent", "room", "found", "elsewhere", "server", "failed"
]


@dataclass(frozen=True, slots=True)
class Erasure:
    """Whether deleted rows are gone from the files of a store, and how that was found out.

    `obstacle` is empty where they are, else what was in the way, with a `reason` and an `advice` in words.
    `markers` of the deleted rows were looked for in `bytes` of files. `seconds` is for how long others could
    not write, `elsewhere` names tables that are not LangGraph's and hold the same text.
    """

    obstacle: Obstacle = ""
    reason: str = ""
    advice: str = ""
    markers: int = 0
    bytes: int = 0
    seconds: float = 0.0
    elsewhere: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return not self.obstacle


def erase(location: Location, markers: Sequence[bytes] = (), *, insist: bool = False) -> Erasure:
    """Take what was deleted out of a store's files, and look for `markers` of it there.

    A SQLite file is rebuilt, which nobody can write to meanwhile; where others have it open that is given up
    after two seconds, unless one does `insist`. Of a PostgreSQL server nothing can be said from here: with
    `insist` its tables are rewritten. Raises a StoreError where the store cannot be opened for writing.
    """
    if location.kind == "sqlite":
        from checkpoints.stores.sqlite.erasing import erase as erase_sqlite

        return erase_sqlite(location, markers, insist=insist)
    from checkpoints.stores.postgres.erasing import erase as erase_postgres  # it needs psycopg

    return erase_postgres(location, insist=insist)
