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
from checkpoints.stores.sqlite.listing import GREATEST_ROWID
from checkpoints.stores.sqlite.rows import HEAD, StoredId, checkpoint_rows, size_of, write_rows
from checkpoints.stores.sqlite.search import MATCHES, bytes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.stores.selection import Criteria, Held, Part
    from checkpoints.stores.sqlite.schema import Schema

SCAN: Final = 5_000  # thread ids by chunk
ROWS: Final = 5000  # by chunk of a walk through the table
RARE: Final = (
    0.1  # share of the rows up to which a walk through all of them is faster than a look at each thread
)
MOST: Final = 1_000  # threads that one statement looks at
ANY: Final = StoredId("")

_KEY = "CASE typeof({id}) WHEN 'text' THEN CAST({id} AS BLOB) ELSE {id} END, typeof({id})"
_SCAN = """
WITH RECURSIVE ids(id) AS (
    SELECT min(thread_id) FROM {table} {start}
    UNION ALL
    SELECT (SELECT thread_id FROM {table} WHERE thread_id > ids.id ORDER BY thread_id LIMIT 1)
    FROM ids WHERE id IS NOT NULL
    LIMIT {scan}
)
SELECT {key}, {place} FROM ids WHERE id IS NOT NULL
""".replace("{key}", _KEY.format(id="ids.id"))
_PLACE = """
(SELECT rowid FROM checkpoints c WHERE c.thread_id = ids.id ORDER BY checkpoint_ns, checkpoint_id LIMIT 1)
"""
_ORPHAN = "CASE WHEN NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = ids.id) THEN 0 END"
# How many of some rows, taken evenly from all of the table, hold the bytes that each match has.
_SHARE = """
WITH RECURSIVE places(at) AS (SELECT 0 UNION ALL SELECT at + 1 FROM places WHERE at < 199),
ends(least, greatest) AS (SELECT (SELECT min(rowid) FROM checkpoints), (SELECT max(rowid) FROM checkpoints))
SELECT ifnull(avg((SELECT instr(CAST(metadata AS BLOB), ?1) > 0 FROM checkpoints
                   WHERE rowid >= CAST(least + (greatest - least) * (at / 200.0) AS INTEGER)
                   ORDER BY rowid LIMIT 1)), 0)
FROM ends, places
"""
_FIRST_ROW = "SELECT min(rowid) FROM checkpoints"
_NEXT_ROW = "SELECT min(rowid) FROM checkpoints WHERE rowid > ?1"
_HOLDING = """
SELECT {key}, min(rowid) FROM checkpoints NOT INDEXED
WHERE rowid BETWEEN ?1 AND ?2 AND instr(CAST(metadata AS BLOB), ?3) GROUP BY thread_id
""".replace("{key}", _KEY.format(id="thread_id"))
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
       count(*), sum({size}), {newest}, {stamp}
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
    """List the threads that begin like the prefix, in the order in which they were begun.

    Where few rows can match the metadata, these rows are looked for first, in the file's order.
    """
    sought = next((needle for _, value in criteria.metadata if (needle := bytes_of(value))), b"")
    if sought and schema.rowid and (yield Statement(_SHARE, (sought,)))[0][0] < RARE:
        found = yield from _holding(sought, criteria.prefix)
    else:
        found = yield from _scanned(schema, "checkpoints", _PLACE if schema.rowid else "0", criteria.prefix)
    if not criteria.metadata and schema.writes:
        found += yield from _scanned(schema, "writes", _ORPHAN, criteria.prefix)
    found.sort(key=itemgetter(0))
    return [key for _, key in found]


def narrowed(schema: Schema, keys: Sequence[ThreadKey], criteria: Criteria) -> Operation[list[ThreadKey]]:
    """Return those of these threads of which the age and the metadata hold."""
    keys = list(keys)
    if criteria.idle_since is not None and keys:
        newest = yield from _newest(schema, keys)
        times = {key: id_time(id) for key, id in newest.items()}
        keys = [key for key in keys if (at := times.get(key)) and at <= criteria.idle_since]
    for name, value in criteria.metadata:
        if keys:
            wanted = (name, value, METADATA_BYTES, bytes_of(value))
            rows = yield _of(_MATCHING, keys, wanted, row="({})")
            matching = {ThreadKey(raw, kind) for raw, kind in rows}
            keys = [key for key in keys if key in matching]
    return keys


def measured(schema: Schema, keys: Sequence[ThreadKey]) -> Operation[list[tuple[ThreadKey, Held]]]:
    """Add up what is held of these threads, in this order; those without a row are left out."""
    found: dict[Any, list[Part]] = {}
    orphans: dict[ThreadKey, str] = {}
    for place, table in enumerate(tables(schema)):
        if place and (lone := [key for key in keys if key not in found]):
            orphans = yield from _newest(schema, lone)
        for row in (yield _of(_parts(schema, place, table), keys)):
            found.setdefault(row[:2], []).append(row[2:])
    for key in orphans.keys() & found.keys():
        id = orphans[key]
        found[key] = [(place, ns, rows, size, id, stamp) for place, ns, rows, size, _, stamp in found[key]]
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


def _parts(schema: Schema, place: int, table: str) -> str:
    """Return the SQL of a table's parts; ids of writes are compared only where they tell something."""
    parts = {
        "table": table,
        "place": str(place),
        "size": _SIZES[table],
        "newest": "''" if place else "ifnull(CAST(max(checkpoint_id) AS TEXT), '')",
        "stamp": "max(rowid)" if schema.rowid else "0",
    }
    sql = _PARTS
    for name, part in parts.items():
        sql = sql.replace(f"{{{name}}}", part)
    return sql


def _newest(schema: Schema, keys: Sequence[ThreadKey]) -> Operation[dict[ThreadKey, str]]:
    """Return the greatest id of the checkpoints of these threads; where there is none, of their writes."""
    newest: dict[ThreadKey, str] = {}
    for table in tables(schema):
        if left := [key for key in keys if key not in newest]:
            rows = yield _of(_NEWEST.replace("{table}", table), left)
            newest |= {ThreadKey(raw, kind): id for raw, kind, id in rows}
    return newest


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
            return [(at, key) for at, key in found if key.begins(prefix)] if prefix else found
        term, value = _bound(last, 1)
        start, bound = f"WHERE thread_id > {term}", (value,)


def _holding(sought: bytes, prefix: str) -> Operation[list[tuple[int, ThreadKey]]]:
    """Walk through the table; return the threads with these bytes in some metadata, and that row of each."""
    found: dict[ThreadKey, int] = {}
    [(first,)] = yield Statement(_FIRST_ROW)
    while first is not None:
        last = min(first + ROWS - 1, GREATEST_ROWID)
        for raw, kind, row in (yield Statement(_HOLDING, (first, last, sought))):
            found.setdefault(ThreadKey(raw, kind), row)
        [(first,)] = yield Statement(_NEXT_ROW, (last,))
    return [(row, key) for key, row in found.items() if key.begins(prefix)]


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
