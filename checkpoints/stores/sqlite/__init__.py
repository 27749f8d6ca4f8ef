"""SQLite stores: files opened without a trace, whoever writes to them."""

from __future__ import annotations
