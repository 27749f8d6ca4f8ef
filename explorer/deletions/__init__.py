"""Deletions of threads: planned, confirmed, carried out, erased, and looked at again."""

from __future__ import annotations
