"""Who uses the explorer, and what each of them may do."""

from __future__ import annotations
