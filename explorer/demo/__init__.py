"""A demo store: what a shop's support agent leaves behind on a working day.

Real LangGraph graphs write it through LangGraph's own SQLite saver. Only the chat model is scripted, so it
takes a few seconds, no network and no key.
"""

from __future__ import annotations

from explorer.demo.store import write

__all__ = ["write"]
