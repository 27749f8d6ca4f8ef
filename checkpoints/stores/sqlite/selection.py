"""Which threads fulfil criteria, and what each holds: some threads at a time, along the primary key.

In this order the content of a row stays where it is: SQLite tells the length of a value from the header of
its row, and of a thread that has what is looked for nothing more is read. Threads come in the order in which
they were begun, which is about that of their rows in the file.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from checkpoints.snapshot import id_time
from checkpoints.statements import Operation, Statement
from checkpoints.stores.budget import LISTED, LISTED_WRITES, METADATA_BYTES
from checkpoints.stores.selection import Head, ThreadKey, added_up
from checkpoints.stores.sqlite.rows import HEAD, StoredId, checkpoint_rows, size_of, write_rows
from checkpoints.stores.sqlite.search import MATCHES, bytes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores.selection import Criteria, Held, Part
    from checkpoints.stores.sqlite.schema import Schema

SCAN: Final = 5_000  # thread ids by chunk
MOST: Final = 1_000  # threads that one statement looks at
ANY: Final = StoredId("")

_KEY = "CASE typeof({id}) WHEN 'text' THEN CAST({id} AS BLOB) ELSE {id} END, typeof({id})"
_SCAN = """
WITH RECURSIVE ids(id) AS (
    SELECT min(thread_id) FROM {table} {start}
    UNION ALL
    SELECT (SELECT min(thread_id) FROM {table} WHERE thread_id > ids.id) FROM ids WHERE id IS NOT NULL
    LIMIT {scan}
)
SELECT {key}, {place} FROM ids WHERE id IS NOT NULL
""".replace("{key}", _KEY.format(id="ids.id"))
_PLACE = """
(SELECT rowid FROM checkpoints c WHERE c.thread_id = ids.id ORDER BY checkpoint_ns, checkpoint_id LIMIT 1)
"""
_ORPHAN = "CASE WHEN NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = ids.id) THEN 0 END"
_WANTED = "(SELECT column1 AS id FROM (VALUES {ids})) w"
_EXISTING = """
SELECT {key} FROM {wanted} WHERE EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = w.id)
                              OR EXISTS (SELECT 1 FROM {writes} c WHERE c.thread_id = w.id)
""".replace("{key}", _KEY.format(id="w.id")).replace("{wanted}", _WANTED)
_MATCHING = (
    """
SELECT {key} FROM {wanted}
WHERE EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = w.id AND {matches})
""".replace("{key}", _KEY.format(id="w.id"))
    .replace("{wanted}", _WANTED)
    .replace("{matches}", MATCHES)
)
_NEWEST = """
SELECT {key}, ifnull(CAST(max(checkpoint_id) AS TEXT), '')
FROM {table} WHERE thread_id IN ({ids}) GROUP BY thread_id
""".replace("{key}", _KEY.format(id="thread_id"))
_PARTS = """
SELECT {key}, {place}, ifnull(CAST(checkpoint_ns AS TEXT), ''),
       count(*), sum({size}), ifnull(CAST(max(checkpoint_id) AS TEXT), ''), {stamp}
FROM {table} WHERE thread_id IN ({ids}) GROUP BY thread_id, checkpoint_ns
""".replace("{key}", _KEY.format(id="thread_id"))
_SIZES: Final = {
    "checkpoints": f"ifnull({size_of('checkpoint')}, 0) + ifnull({size_of('metadata')}, 0)",
    "writes": f"ifnull({size_of('value')}, 0)",
}
_ENDS = """
SELECT (SELECT CAST(min(checkpoint_ns) AS TEXT) FROM checkpoints WHERE thread_id = ?1),
       (SELECT CAST(max(checkpoint_ns) AS TEXT) FROM checkpoints WHERE thread_id = ?1)
"""


def tables(schema: Schema) -> tuple[str, ...]:
    """Return the tables that there are of those that hold something of a thread."""
    return ("checkpoints", "writes") if schema.writes else ("checkpoints",)


def existing(schema: Schema, keys: Sequence[ThreadKey]) -> Operation[list[ThreadKey]]:
    """Return those of these threads of which there is a row."""
    found: set[ThreadKey] = set()
    sql = _EXISTING.replace("{writes}", schema.sql("{writes}"))
    for at in range(0, len(keys), MOST):
        rows = yield _of(sql, keys[at : at + MOST], row="({})")
        found.update(ThreadKey(raw, kind) for raw, kind in rows)
    return [key for key in keys if key in found]


def candidates(schema: Schema, criteria: Criteria) -> Operation[list[ThreadKey]]:
    """List the threads that begin like the prefix, in the order in which they were begun."""
    found = yield from _scanned(schema, "checkpoints", _PLACE if schema.rowid else "0", criteria.prefix)
    if not criteria.metadata and schema.writes:
        found += yield from _scanned(schema, "writes", _ORPHAN, criteria.prefix)
    found.sort(key=itemgetter(0))
    return [key for _, key in found]


def narrowed(schema: Schema, keys: Sequence[ThreadKey], criteria: Criteria) -> Operation[list[ThreadKey]]:
    """Return those of these threads of which the age and the metadata hold."""
    if criteria.idle_since is not None and keys:
        newest: dict[ThreadKey, str] = {}
        for table in tables(schema):
            for raw, kind, id in (yield _of(_NEWEST.replace("{table}", table), keys)):
                key = ThreadKey(raw, kind)
                newest[key] = max(id, newest.get(key, ""))
        times = {key: id_time(id) for key, id in newest.items()}
        keys = [key for key in keys if (at := times.get(key)) and at <= criteria.idle_since]
    for name, value in criteria.metadata:
        if keys:
            wanted = (name, value, METADATA_BYTES, bytes_of(value))
            rows = yield _of(_MATCHING, keys, wanted, row="({})")
            matching = {ThreadKey(raw, kind) for raw, kind in rows}
            keys = [key for key in keys if key in matching]
    return list(keys)


def measured(schema: Schema, keys: Sequence[ThreadKey]) -> Operation[list[tuple[ThreadKey, Held]]]:
    """Add up what is held of these threads, in this order; those without a row are left out."""
    found: dict[Any, list[Part]] = {}
    for place, table in enumerate(tables(schema)):
        stamp = "max(rowid)" if schema.rowid else "0"
        sql = _PARTS.replace("{table}", table).replace("{size}", _SIZES[table])
        for row in (yield _of(sql.replace("{stamp}", stamp).replace("{place}", str(place)), keys)):
            found.setdefault(row[:2], []).append(row[2:])
    return added_up(keys, found)


def heads(schema: Schema, keys: Sequence[ThreadKey]) -> Operation[list[Head]]:
    """Read the head of each of these threads as the list of threads does; of ids that are no text none."""
    ends = {}
    named = {text: key for key in keys if (text := key.text) is not None}
    for thread_id in named:
        [(least, greatest)] = yield Statement(_ENDS, (thread_id,))
        if greatest is not None:
            ends[thread_id] = (thread_id, "" if least == "" else greatest, ANY)
    rows = yield from checkpoint_rows(ends.values(), LISTED, HEAD)
    writes = yield from write_rows(rows, LISTED_WRITES, schema)
    found = {place[0]: Head(named[place[0]], row, writes.get(place, ())) for place, row in rows.items()}
    return [found.get(thread_id, Head(key, None)) for thread_id, key in named.items()]


def _scanned(schema: Schema, table: str, place: str, prefix: str) -> Operation[list[tuple[int, ThreadKey]]]:
    """Skip from thread id to thread id; return those with a place that begin with the prefix."""
    found: list[tuple[int, ThreadKey]] = []
    start, bound = ("WHERE thread_id >= ?1", (prefix,)) if prefix else ("", ())
    sql = _SCAN.replace("{table}", table).replace("{place}", place).replace("{scan}", str(SCAN))
    while True:
        rows = yield Statement(sql.replace("{start}", start), bound)
        found += [(at, ThreadKey(raw, kind)) for raw, kind, at in rows if at is not None]
        last = ThreadKey(*rows[-1][:2]) if rows else None
        # A table may compare without regard to case, so what begins otherwise may stand among the others.
        if len(rows) < SCAN or last is None or not last.begins(prefix, any_case=True):
            return [(at, key) for at, key in found if key.begins(prefix)]
        term, value = _bound(last, 1)
        start, bound = f"WHERE thread_id > {term}", (value,)


def _of(sql: str, keys: Sequence[ThreadKey], before: tuple[Any, ...] = (), row: str = "{}") -> Statement:
    """Return the statement for these threads, which are numbered after what is bound before them."""
    bound = [_bound(key, number) for number, key in enumerate(keys, len(before) + 1)]
    terms = ", ".join([row.format(term) for term, _ in bound])
    return Statement(sql.replace("{ids}", terms), (*before, *(value for _, value in bound)))


def _bound(key: ThreadKey, number: int) -> tuple[str, Any]:
    """Return how an id is bound as what it is there: an equal text of another type is another id."""
    if (text := key.text) is not None:
        return f"?{number}", text
    return f"CAST(?{number} AS TEXT)" if key.kind == "text" else f"?{number}", key.raw
