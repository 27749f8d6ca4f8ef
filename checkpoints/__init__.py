"""The storage library: LangGraph checkpoint savers and stores, without Django."""

from __future__ import annotations

__version__ = "0.1.0"
