"""Graphs by a name that a configuration can write: `shape_3` is the fourth of the shapes of threads."""

from __future__ import annotations

from typing import Any

from thread_graphs import SHAPES


def source_of(name: str) -> str:
    """Return the variable of this module that is the graph of a shape."""
    return f"shape_{list(SHAPES).index(name)}"


def __getattr__(name: str) -> Any:
    kind, _, number = name.partition("_")
    if kind != "shape" or not number.isdecimal():
        raise AttributeError(name)
    return lambda: list(SHAPES.values())[int(number)].build(None)
