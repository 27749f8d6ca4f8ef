"""The graphs that can be chosen: those of this process's configuration, and those that workers tell of."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from explorer.graphs.sources import GraphSource, GraphsRefused, all_of
from explorer.models import Worker

if TYPE_CHECKING:
    from collections.abc import Iterable

GONE = 30  # seconds since a worker was seen


@dataclass(frozen=True, slots=True)
class GraphLine:
    """A graph that may be chosen. `problem` is why it cannot run; `known`, whether a worker has tried it."""

    name: str
    where: str
    nodes: tuple[str, ...]
    problem: str
    traceback: str
    known: bool


def sources() -> tuple[GraphSource, ...]:
    """Return the graphs that this process is configured with. Raises GraphsRefused."""
    return _sources(settings.EXPLORER_GRAPHS_FILE, tuple(settings.EXPLORER_GRAPHS))


def source(name: str) -> GraphSource:
    """Return one of them. Raises GraphsRefused."""
    for each in sources():
        if each.name == name:
            return each
    raise GraphsRefused(f"This worker has no graph {name!r}.")


@lru_cache(maxsize=4)
def _sources(file: str, texts: tuple[str, ...]) -> tuple[GraphSource, ...]:
    return all_of(file, texts)


def offered(store: str) -> tuple[GraphLine, ...]:
    """Return the graphs that a replay of a store may name: of the workers that open it, by name.

    A graph that several workers have is fine where one of them can import it.
    """
    found: dict[str, GraphLine] = {}
    for worker in alive():
        if store in worker.stores:
            for name, told in worker.graphs.items():
                line = _line(name, told)
                if name not in found or found[name].problem or not found[name].known:
                    found[name] = line
    return tuple(found[name] for name in sorted(found))


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """A worker that is running: what it opens and what it can run."""

    name: str
    stores: tuple[str, ...]
    graphs: tuple[GraphLine, ...]


def workers() -> tuple[WorkerLine, ...]:
    """Return the workers that are running, with their stores by name and their graphs."""
    return tuple(
        WorkerLine(
            name=worker.name,
            stores=tuple(key.rpartition("/")[2] for key in worker.stores),
            graphs=tuple(_line(name, told) for name, told in sorted(worker.graphs.items())),
        )
        for worker in alive()
    )


def alive() -> Iterable[Worker]:
    """Return the workers that have been seen lately."""
    return Worker.objects.filter(seen_at__gt=timezone.now() - timedelta(seconds=GONE)).order_by("started_at")


def worker_name() -> str:
    """Return how this process calls itself where it runs something."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def _line(name: str, told: dict[str, object]) -> GraphLine:
    nodes = told.get("nodes")
    return GraphLine(
        name=name,
        where=str(told.get("where") or ""),
        nodes=tuple(map(str, nodes)) if isinstance(nodes, list) else (),
        problem=str(told.get("problem") or ""),
        traceback=str(told.get("traceback") or ""),
        known=bool(nodes is not None or told.get("problem")),
    )
