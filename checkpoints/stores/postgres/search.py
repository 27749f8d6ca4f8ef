"""Threads by the metadata of any of their checkpoints."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from checkpoints.inert import InertSerializer
from checkpoints.statements import Operation, Statement
from checkpoints.stores.postgres.listing import within
from checkpoints.stores.postgres.places import Listing, Place, cut
from checkpoints.stores.records import Hint

if TYPE_CHECKING:
    from checkpoints.stores.postgres.schema import Schema
    from checkpoints.stores.records import Search

SEARCH_SECONDS = 5.0
LONGEST = 1_000  # characters of a value that is looked for as JSON

# An index on the metadata serves containment, which finds more than equality where values are nested.
_SEARCH = """
SELECT max(checkpoint_id), thread_id FROM checkpoints
WHERE (metadata @> jsonb_build_object(%(key)s::text, %(text)s::jsonb)
       OR metadata @> jsonb_build_object(%(key)s::text, %(json)s::jsonb))
  AND metadata -> %(key)s::text IN (%(text)s::jsonb, %(json)s::jsonb)
  AND position(lower(%(needle)s::text) IN lower(thread_id)) > 0
GROUP BY thread_id
HAVING %(id)s::text IS NULL OR (max(checkpoint_id), thread_id) < (%(id)s::text, %(thread)s::text)
ORDER BY max(checkpoint_id) DESC, thread_id DESC LIMIT %(rows)s
"""
_INDEX = "CREATE INDEX CONCURRENTLY ON {table} USING gin (metadata jsonb_path_ops);"


def metadata_listing(
    schema: Schema, search: Search, before: Place | None, limit: int
) -> Operation[tuple[Listing, Hint | None]]:
    """List the threads with a matching checkpoint, in the order of their latest match.

    The value matches a string that equals it and the JSON that it is. Where the search takes too long there
    is no thread, but a hint.
    """
    key, value = search.metadata or ("", "")
    text, as_json = forms(value)
    wanted = {"key": key, "text": text, "json": as_json, "needle": search.thread_id or "", "rows": limit + 1}
    at = {"id": before and before.checkpoint_id, "thread": before and before.thread_id}
    rows = yield from within(SEARCH_SECONDS, Statement(_SEARCH, {**wanted, **at}))
    if rows is not None:
        return cut([Place(*row) for row in rows], limit), None
    bound = f"The metadata of this store could not be searched within {SEARCH_SECONDS:.0f} seconds."
    hint = Hint("An index on the metadata makes this search fast.", _INDEX.format(table=schema.qualified))
    return Listing([], bound=bound), hint


def forms(value: str) -> tuple[str, str]:
    """Return the JSON of the value as a string, and as the JSON that it is; where it is none, the first."""
    text = as_json = json.dumps(value, ensure_ascii=False)
    if len(value) <= LONGEST:
        with suppress(TypeError, ValueError):  # what is no JSON; Infinity, which JSONB does not hold
            parsed = InertSerializer().loads_typed(("json", value))
            as_json = json.dumps(parsed, ensure_ascii=False, allow_nan=False)
    return text, text if "\\u0000" in as_json else as_json
