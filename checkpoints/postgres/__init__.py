"""LangGraph's PostgreSQL saver for synchronous code."""

from __future__ import annotations
