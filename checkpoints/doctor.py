"""Reads a whole store to tell what it is and whether all of it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.inert import InertSerializer
from checkpoints.stores.sqlite import checkup as of_a_file

if TYPE_CHECKING:
    from checkpoints.diagnosis import Diagnosis
    from checkpoints.stores.location import Location


def diagnose(location: Location, serde: InertSerializer | None = None) -> Diagnosis:
    """Read a whole store, row by row. Raises StoreError where it cannot be opened or keeps changing.

    Nothing is kept but counts, so a store of any size takes little more memory than its largest row.
    """
    serde = serde or InertSerializer.from_environment()
    if location.kind == "sqlite":
        return of_a_file.diagnose(location, serde)
    from checkpoints.stores.postgres import checkup as of_a_database  # psycopg is an extra

    return of_a_database.diagnose(location, serde)
