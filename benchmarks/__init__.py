"""Benchmarks: medians and ratios on generated stores, printed and never asserted."""

from __future__ import annotations
