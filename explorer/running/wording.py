"""Text of any length and content, made fit for a line of a report."""

from __future__ import annotations


def clipped(text: str, limit: int) -> str:
    """Return the text with its end cut off where it is long, and without what UTF-8 cannot write."""
    short = text if len(text) <= limit else f"{text[:limit]} … {len(text) - limit:,} characters more"
    return short.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
