"""Where the bytes of a file go.

Stretches of rows are added up in an order in which any number of them is an even sample: when the time is
over, what was met stands for the rest.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checkpoints.statements import Operation, Statement
from checkpoints.stores.sqlite.states import States, sampled
from checkpoints.stores.usage import (
    MOST_OF_THREAD,
    THREADS,
    TableUsage,
    ThreadUsage,
    Usage,
    channels,
    is_call,
    kind_of,
    looked_at,
    namespaces,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.statements import Row
    from checkpoints.stores.sqlite.schema import Schema

SECONDS = 2.0  # of adding up rows
THREADS_SECONDS = 1.0  # of counting the largest threads
STRETCH = 5_000  # rowids, some 10 ms
HEADS = 100  # looked at for what they keep, where not all were met

_SIZE = "ifnull(length(checkpoint), 0) + ifnull(length(metadata), 0)"
_ENDS = "SELECT (SELECT min(rowid) FROM {table}), (SELECT max(rowid) FROM {table})"  # each a seek
_CHECKPOINTS = f"""
SELECT thread_id, checkpoint_ns, count(*), sum(size), max(checkpoint_id), size
FROM (SELECT CAST(thread_id AS TEXT) AS thread_id, CAST(checkpoint_ns AS TEXT) AS checkpoint_ns,
             CAST(checkpoint_id AS TEXT) AS checkpoint_id, {_SIZE} AS size
      FROM checkpoints WHERE rowid BETWEEN ? AND ?)
GROUP BY thread_id, checkpoint_ns
"""
_WRITES = """
SELECT CAST(thread_id AS TEXT), CAST(checkpoint_ns AS TEXT), CAST(channel AS TEXT),
       count(*), sum(ifnull(length(value), 0))
FROM writes WHERE rowid BETWEEN ? AND ? GROUP BY 1, 2, 3
"""
_THREAD = f"""
SELECT count(*), ifnull(sum(size), 0), max(checkpoint_id)
FROM (SELECT {_SIZE} AS size, CAST(checkpoint_id AS TEXT) AS checkpoint_id
      FROM checkpoints WHERE thread_id = ? LIMIT {MOST_OF_THREAD + 1})
"""
_THREAD_WRITES = f"""
SELECT count(*), ifnull(sum(size), 0)
FROM (SELECT ifnull(length(value), 0) AS size FROM writes WHERE thread_id = ? LIMIT {MOST_OF_THREAD + 1})
"""
_NAMESPACE = """
SELECT (SELECT count(*) FROM (
            SELECT 1 FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2 LIMIT 1000)),
       {size} FROM checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2 ORDER BY checkpoint_id DESC LIMIT 1
""".replace("{size}", _SIZE)
FREE, PAGE = "PRAGMA freelist_count", "PRAGMA page_size"


@dataclass
class Met:
    """What was added up of the rows so far: by table, rows and bytes, and by table and kind of namespace.

    `heads` has the newest checkpoint of each namespace that is not of one call, and its size.
    """

    rows: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    kind_sizes: Counter[tuple[str, str]] = field(default_factory=Counter)
    threads: Counter[str] = field(default_factory=Counter)
    checkpoints: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    last: dict[str, str] = field(default_factory=dict)
    heads: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return all(share == 1 for share in self.shares.values())

    def scale(self, table: str) -> float:
        """Return how many rows each row that was met stands for."""
        return 1 / self.shares[table] if self.shares[table] else 0.0

    def table(self, name: str) -> TableUsage:
        return TableUsage(
            name, round(self.rows[name] * self.scale(name)), round(self.sizes[name] * self.scale(name))
        )

    def scaled(self, counts: Counter[tuple[str, str]]) -> Counter[str]:
        """Add up what was counted by table and kind."""
        total: Counter[str] = Counter()
        for (table, kind), count in counts.items():
            total[kind] += round(count * self.scale(table))
        return total

    def add_checkpoints(self, rows: list[Row]) -> None:
        for thread_id, ns, count, size, head_id, head_size in rows:
            self._add("checkpoints", thread_id, ns, count, size)
            self.checkpoints[thread_id] += count
            if head_id is None:
                continue
            self.last[thread_id] = max(self.last.get(thread_id, ""), head_id)
            if not is_call(ns) and head_id >= self.heads.get((thread_id, ns), ("", 0))[0]:
                self.heads[thread_id, ns] = head_id, head_size

    def add_writes(self, rows: list[Row]) -> None:
        for thread_id, ns, channel, count, size in rows:
            self._add("writes", thread_id, ns, count, size)
            self.writes[channel] += size

    def _add(self, table: str, thread_id: str, ns: str, count: int, size: int) -> None:
        self.rows[table] += count
        self.sizes[table] += size
        self.threads[thread_id] += size
        self.kinds[table, kind_of(ns)] += count
        self.kind_sizes[table, kind_of(ns)] += size


def usage(schema: Schema, file_bytes: int) -> Operation[Usage]:
    """Tell where the bytes go, within some seconds."""
    met = yield from _walked(schema)
    states = yield from sampled(schema)
    checkpoints, writes = met.table("checkpoints"), met.table("writes")
    if met.whole:
        kept = sum(size for _, size in met.heads.values())
    else:
        kept = yield from _kept(states, checkpoints.rows)
    of_states = checkpoints.bytes / states.weight if states.weight else 0.0
    [(free,)] = yield Statement(FREE)
    [(page,)] = yield Statement(PAGE)
    return Usage(
        bytes=file_bytes,
        free=free * page,
        tables=(checkpoints, writes),
        threads=(yield from _threads(schema, met)),
        namespaces=namespaces(met.scaled(met.kinds), met.scaled(met.kind_sizes)),
        channels=channels(
            _scaled(states.channels, of_states),
            _scaled(met.writes, met.scale("writes")),
            _scaled(states.ours, of_states).items(),
        ),
        freed=max(0, checkpoints.bytes + writes.bytes - kept),
        states=len(states.rows),
        deltas=states.deltas,
        bound=looked_at(met.shares),
    )


def _walked(schema: Schema) -> Operation[Met]:
    """Add up the stretches of both tables in turn, until the time is over."""
    met = Met()
    tables = {"checkpoints": (_CHECKPOINTS, met.add_checkpoints), "writes": (_WRITES, met.add_writes)}
    waiting = {}
    for table in tables:
        met.shares[table] = 1.0
        if table == "checkpoints" or schema.writes:
            waiting[table] = yield from _stretches(schema, table)
    done = Counter[str]()
    until = time.monotonic() + SECONDS
    while waiting:
        for table in list(waiting):
            count, stretches = waiting[table]
            sql, add = tables[table]
            if (stretch := next(stretches, None)) is None:
                del waiting[table]
            elif done[table] and time.monotonic() > until:
                met.shares[table] = done[table] / count
                del waiting[table]
            else:
                sql = sql if schema.rowid else sql.replace("rowid BETWEEN", "0 BETWEEN")
                add((yield Statement(sql, stretch)))
                done[table] += stretch[1] - stretch[0] + 1
    return met


def _stretches(schema: Schema, table: str) -> Operation[tuple[int, Iterator[tuple[int, int]]]]:
    """Return how many rowids a table has, and stretches of them, the first of these spread evenly."""
    if not schema.rowid:
        return 1, iter([(0, 0)])  # all of it
    [(first, last)] = yield Statement(_ENDS.format(table=table))
    if first is None:
        return 0, iter(())
    starts = (first + place * STRETCH for place in spread((last - first) // STRETCH + 1))
    return last - first + 1, ((start, min(start + STRETCH - 1, last)) for start in starts)


def spread(count: int) -> Iterator[int]:
    """Return the numbers below `count`, the first of them evenly spread: their bits are reversed."""
    bits = max(1, (count - 1).bit_length())
    for number in range(1 << bits):
        place = int(f"{number:0{bits}b}"[::-1], 2)
        if place < count:
            yield place


def _kept(states: States, checkpoints: int) -> Operation[int]:
    """Estimate what the heads of all namespaces take: each row stands for its share of a head."""
    found = 0.0
    rows = states.rows[:: max(1, len(states.rows) // HEADS)]
    for thread_id, ns in rows:
        if not is_call(ns) and (held := (yield Statement(_NAMESPACE, (thread_id, ns)))):
            [(count, size)] = held
            found += size / max(count, 1)
    return round(found / len(rows) * checkpoints) if rows else 0


def _threads(schema: Schema, met: Met) -> Operation[tuple[ThreadUsage, ...]]:
    largest = [thread_id for thread_id, _ in met.threads.most_common(THREADS)]
    if met.whole:
        return tuple(
            ThreadUsage(
                thread_id, met.checkpoints[thread_id], met.threads[thread_id], met.last.get(thread_id)
            )
            for thread_id in largest
        )
    found: list[ThreadUsage] = []
    until = time.monotonic() + THREADS_SECONDS
    for thread_id in largest:
        if time.monotonic() > until:
            break
        [(count, size, head_id)] = yield Statement(_THREAD, (thread_id,))
        writes, more = 0, 0
        if schema.writes:
            [(writes, more)] = yield Statement(_THREAD_WRITES, (thread_id,))
        at_least = max(count, writes) > MOST_OF_THREAD
        found.append(ThreadUsage(thread_id, min(count, MOST_OF_THREAD), size + more, head_id, at_least))
    return tuple(sorted(found, key=lambda thread: -thread.bytes))


def _scaled(counts: Counter[str], factor: float) -> Counter[str]:
    return Counter({name: round(count * factor) for name, count in counts.items()})
