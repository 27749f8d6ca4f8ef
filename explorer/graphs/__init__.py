"""The graphs that replays run: what the operator's configuration names, and how it becomes a graph."""

from __future__ import annotations
