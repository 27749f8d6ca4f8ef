"""How much of a store one answer may bring."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024
METADATA_BYTES = MIB
NAME_CHARACTERS = 2_000

MOST_WRITES = 20_000
MOST_NAMESPACES = 10_000
NAMESPACES_COUNTED = 1_000  # for a row of the list
MOST_COUNTED = 10_000  # checkpoints of a thread or of a namespace
MOST_COUNTED_IN_ALL, LEAST_COUNTED = 100_000, 100  # checkpoints of all namespaces of a thread, and of each
NEWER_AROUND = 5
MOST_IN_TREE = 2_000  # checkpoints of a namespace whose tree is known as a whole
MOST_ABOVE = 10_000  # checkpoints above a page of a longer one, for the tree there
MOST_TIPS = 60  # whose metadata are read


@dataclass(frozen=True, slots=True)
class Budget:
    """How many bytes of content one row, and all rows together, may bring."""

    row: int
    page: int


LISTED = Budget(256 * KIB, 8 * MIB)
LISTED_WRITES = Budget(4 * KIB, MIB)  # what failed or asked, not what it said
PAGE = Budget(MIB, 16 * MIB)
PAGE_WRITES = Budget(64 * KIB, 16 * MIB)
METADATA = Budget(0, 4 * MIB)
WHOLE = Budget(64 * MIB, 64 * MIB)
