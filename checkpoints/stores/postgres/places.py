"""Where a thread stands in the list: at its latest checkpoint.

Nothing tells that one but all checkpoints of the thread, so it is looked for at the head of each of its
namespaces, of the first `NAMESPACES`: seeks along the primary key, at any length of the thread.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

NAMESPACES = 1_000

NAMED = """
WITH RECURSIVE named(ns) AS (
    (SELECT checkpoint_ns FROM {table} WHERE thread_id = {thread} ORDER BY checkpoint_ns LIMIT 1)
    UNION ALL
    SELECT (SELECT checkpoint_ns FROM {table} WHERE thread_id = {thread} AND checkpoint_ns > named.ns
            ORDER BY checkpoint_ns LIMIT 1)
    FROM named WHERE ns IS NOT NULL
)
"""
_PLACE = """
({named}
 SELECT max((SELECT checkpoint_id FROM checkpoints WHERE thread_id = {thread} AND checkpoint_ns = n.ns
             ORDER BY checkpoint_id DESC LIMIT 1))
 FROM (SELECT ns FROM named WHERE ns IS NOT NULL LIMIT {namespaces}) n)
"""


class Place(NamedTuple):
    """A thread's place: its latest checkpoint's id, None where it has only writes; among equals its own."""

    checkpoint_id: str | None
    thread_id: str

    @property
    def key(self) -> str:
        return json.dumps(self, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def of_key(cls, key: str | None) -> Place | None:
        """Return the place that a key of paging names, None for the first page and for what is no key."""
        try:
            found = json.loads(key or "null")
        except (ValueError, RecursionError):
            return None
        match found:
            case [str() | None as id, str() as thread_id] if is_storable(id or "", thread_id):
                return cls(id, thread_id)
        return None


@dataclass(frozen=True, slots=True)
class Listing:
    """The threads of a page, the key that continues the list, and the bound that the read hit."""

    entries: list[Place]
    before: str | None = None
    bound: str | None = None


def is_storable(*texts: str) -> bool:
    """Tell whether a PostgreSQL text can be these; no row is found by what it cannot hold."""
    try:
        return "\0" not in "".join(texts).encode().decode()
    except UnicodeEncodeError:
        return False


def place_sql(thread: str) -> str:
    """Return the SQL of the place of the thread that this SQL names."""
    named = NAMED.format(table="checkpoints", thread=thread)
    return _PLACE.format(named=named, thread=thread, namespaces=NAMESPACES)


def cut(entries: list[Place], limit: int, bound: str | None = None) -> Listing:
    """Make a page of the first of these, with a key that leads to the others."""
    return Listing(entries[:limit], entries[limit - 1].key if len(entries) > limit else None, bound)
