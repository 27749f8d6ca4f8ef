"""Middleware, all of it native to the event loop."""

from __future__ import annotations
