"""Retention: rules for what a store keeps, told before they are enforced."""

from __future__ import annotations
