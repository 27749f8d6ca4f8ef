"""What a run is told: the graph, the store, the checkpoint, and what the graph is given there."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from explorer.graphs.sources import GraphSource

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHERS = ("__", "checkpoint_")  # beginnings of the keys that LangGraph configures itself
# What is asked of a checkpoint: its next step anew; only what has not finished of it; an answer to its
# interrupts; a new input.
Kind = Literal["replay", "continue", "resume", "input"]


@dataclass(frozen=True, slots=True)
class Job:
    """One run. `metadata` goes into the checkpoints that it makes, `parents` are those of a subgraph's.

    An `encrypted` thread stays so, with the key in LANGGRAPH_AES_KEY.

    `answers` are the values by interrupt id, `""` for the only one of a store that names none. `head` is
    the head of the namespace that the request was made at, where the run is of that alone.
    """

    graph: GraphSource
    path: str
    conninfo: str = field(repr=False)
    kind: Kind
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    head: str = ""
    parents: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    input: Any = None
    configurable: Mapping[str, Any] = field(default_factory=dict)
    context: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    encrypted: bool = False
    step_limit: int = 25

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data. Not by `asdict`, which copies values, and only so deep."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {
            "graph": self.graph.to_json()
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Job:
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in given.items() if name in known}
        return cls(**{**values, "graph": GraphSource.from_json(given["graph"])})

    @property
    def config(self) -> dict[str, Any]:
        """The config that addresses the checkpoint, as `get_state` of LangGraph gives it.

        What is not stored of a subgraph is found by the checkpoints of the graphs around it.
        """
        own = {key: value for key, value in self.configurable.items() if not key.startswith(OTHERS)}
        configurable = {**own, "thread_id": self.thread_id, "checkpoint_ns": self.checkpoint_ns}
        if self.kind != "continue":
            configurable["checkpoint_id"] = self.checkpoint_id
        if self.checkpoint_ns:
            configurable["checkpoint_map"] = {**self.parents, self.checkpoint_ns: self.checkpoint_id}
        return {
            "configurable": configurable,
            "metadata": dict(self.metadata),
            "recursion_limit": self.step_limit,
        }
