"""Replays: requests to run a graph from a checkpoint, who runs them, and what becomes of them."""

from __future__ import annotations
