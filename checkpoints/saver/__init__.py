"""LangGraph's saver interface, written once for every database."""

from __future__ import annotations
