"""PostgreSQL stores: read-only transactions on connections of our own."""

from __future__ import annotations
