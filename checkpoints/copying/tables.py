"""The tables of both kinds of database: their columns beside the thread's id, which a copy changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind: TypeAlias = Literal["sqlite", "postgres"]


class Table(NamedTuple):
    """A table: the key within its thread, the other columns, and those of them that hold content."""

    name: str
    key: tuple[str, ...]
    others: tuple[str, ...]
    content: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, in the order in which rows have them."""
        return self.key + self.others


_CHECKPOINT = ("checkpoint_ns", "checkpoint_id")
_WRITE = (*_CHECKPOINT, "task_id", "idx")
CHECKPOINTS = Table(
    "checkpoints",
    _CHECKPOINT,
    ("parent_checkpoint_id", "type", "checkpoint", "metadata"),
    ("checkpoint", "metadata"),
)
WRITES = Table("writes", _WRITE, ("task_path", "channel", "type", "value"), ("value",))
BLOBS = Table("checkpoint_blobs", ("checkpoint_ns", "channel", "version"), ("type", "blob"), ("blob",))
POSTGRES_WRITES = Table("checkpoint_writes", _WRITE, ("task_path", "channel", "type", "blob"), ("blob",))

TABLES: Mapping[Kind, tuple[Table, ...]] = {
    "sqlite": (CHECKPOINTS, WRITES),
    "postgres": (CHECKPOINTS, BLOBS, POSTGRES_WRITES),
}
