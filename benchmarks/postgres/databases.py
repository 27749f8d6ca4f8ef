"""Databases of a given size. What the official saver stores of one thread is multiplied by the server.

Threads of 20 checkpoints, written by turns with 60 of them going on at once, as a busy agent does. Each step
of a thread brings a new version of its messages: a kilobyte, or ten. And threads of 20,000.
"""

from __future__ import annotations

import hashlib
import random
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
from langgraph.checkpoint.postgres import PostgresSaver as OfficialSaver

from benchmarks import generator
from benchmarks.postgres import servers

if TYPE_CHECKING:
    from collections.abc import Callable

LAYOUT = 1  # raise it when what is generated changes
TEMPLATE = "template"
STEPS = 20  # of the template, the checkpoints of which others take turns to look like
ACTIVE = 60
BEGINNING = 0x1EF00000  # of the first id: each kind of thread begins then

TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
NEVER = "ALTER TABLE {} SET (autovacuum_enabled = off)"
# The places in time of all steps, the name of each thread and checkpoint, and what that looks like.
NUMBERED = f"""\
CREATE TEMP TABLE numbered AS
SELECT md5(%(seed)s || t)::uuid::text AS thread_id, t, s AS step, n, (t * 7 + s) %% {STEPS} AS model,
    overlay(md5(%(seed)s || t || '-' || s) PLACING lpad(to_hex(n), 8, '0') FROM 1 FOR 8)::uuid::text AS id,
    lpad((s + 1)::text, 32, '0') || '.0524345090628' || lpad((t %% 1000)::text, 4, '0') AS version
FROM (SELECT t, s, %(beginning)s + t / {ACTIVE} * {ACTIVE} * %(steps)s + s * {ACTIVE} + t %% {ACTIVE} AS n
      FROM generate_series(0, %(count)s - 1) AS t, generate_series(0, %(steps)s - 1) AS s) AS places
ORDER BY n"""
MODELS = f"""\
CREATE TEMP TABLE models AS
SELECT row_number() OVER (ORDER BY checkpoint_id) - 1 AS model, *
FROM checkpoints WHERE thread_id = '{TEMPLATE}'"""
CHECKPOINTS = """\
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
SELECT numbered.thread_id, '', id, parent_id,
    checkpoint || jsonb_build_object('id', id, 'ts', to_timestamp(n)::text, 'channel_versions',
        checkpoint -> 'channel_versions' || jsonb_build_object('messages', version)),
    metadata || jsonb_build_object('step', step - 1, 'user_id', 'user-' || t %% 200)
FROM (SELECT *, lag(id) OVER (PARTITION BY t ORDER BY step) AS parent_id FROM numbered) AS numbered
JOIN models USING (model) ORDER BY n"""
BLOBS = f"""\
INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
SELECT numbered.thread_id, '', 'messages', numbered.version, checkpoint_blobs.type, blob
FROM numbered JOIN models USING (model) JOIN checkpoint_blobs ON checkpoint_blobs.thread_id = '{TEMPLATE}'
    AND checkpoint_blobs.version = checkpoint -> 'channel_versions' ->> 'messages' ORDER BY n"""
WRITES = f"""\
INSERT INTO checkpoint_writes
(thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
SELECT numbered.thread_id, '', id, reverse(id), task_path, idx, channel, checkpoint_writes.type, blob
FROM numbered JOIN models USING (model) JOIN checkpoint_writes
    ON checkpoint_writes.thread_id = '{TEMPLATE}' AND models.checkpoint_id = checkpoint_writes.checkpoint_id
ORDER BY n"""
FORGET = (
    *(f"DELETE FROM {table} WHERE thread_id = '{TEMPLATE}'" for table in TABLES),
    "DROP TABLE numbered, models",
)
IDS = "SELECT checkpoint_id FROM checkpoints WHERE thread_id = %s ORDER BY checkpoint_id"
SIZE = "SELECT pg_database_size(current_database())"


@dataclass(frozen=True, slots=True)
class Threads:
    """So many threads of so many checkpoints, with states of a size."""

    count: int
    steps: int
    size: tuple[int, int] = generator.SMALL

    def ids(self, kind: int) -> list[str]:
        """Return the ids of these threads in a database where they are the kind with this number."""
        digests = (hashlib.md5(f"{kind}-{thread}".encode()).hexdigest() for thread in range(self.count))
        return [str(uuid.UUID(digest)) for digest in digests]


SHORT = (Threads(200, 20, generator.MEDIUM), Threads(1, 2_000, generator.MEDIUM))
SMALL = (Threads(500, 20),)
LIGHT = (Threads(1, 20_000),)
LONG = Threads(1, 20_000), Threads(1, 20_000, generator.MEDIUM)
MANY = (Threads(50_000, 20), *LONG)
NEW = (Threads(5_000, 20), *LONG)


@dataclass(frozen=True, slots=True)
class Database:
    """A database with these kinds of threads."""

    server: str
    name: str
    kinds: tuple[Threads, ...] = ()

    @property
    def url(self) -> str:
        """Its URL."""
        return url_of(self.server, self.name)

    def threads(self, kind: int = 0) -> list[str]:
        """Return the ids of the threads of a kind."""
        return self.kinds[kind].ids(range(len(self.kinds))[kind])

    def ids(self, thread_id: str) -> list[str]:
        """Return the ids of a thread's checkpoints, oldest first."""
        with psycopg.connect(self.url) as conn:
            return [id for (id,) in conn.execute(IDS, (thread_id,))]


def stored(server: str, name: str, kinds: tuple[Threads, ...], *, analyzed: bool = True) -> Database:
    """Return a database with these threads, generated once for each server.

    One that is not `analyzed` is as after much was written at once: without statistics.
    """

    def write(saver: OfficialSaver) -> None:
        for number, kind in enumerate(kinds):
            _multiply(saver, number, kind)

    return Database(server, _generated(server, name, write, analyzed=analyzed), kinds)


def delta(server: str, checkpoints: int) -> Database:
    """Return a database with one thread, named like its template, that writes to a DeltaChannel."""

    def write(saver: OfficialSaver) -> None:
        _put(saver, generator.MEDIUM, checkpoints, generator.DELTA)

    return Database(server, _generated(server, "delta", write))


def set_up(url: str) -> None:
    """Create the tables; the official saver cannot in a pipeline."""
    with OfficialSaver.from_conn_string(url) as saver:
        saver.setup()


def url_of(server: str, name: str) -> str:
    """Return the URL of another database of the server."""
    return urlsplit(server)._replace(path=f"/{name}").geturl()


def version(state: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a state the messages of which have the version with this number."""
    versions = {**state["channel_versions"], "messages": f"{number:032}.0.5243450906284147"}
    return {**state, "channel_versions": versions}


def _generated(
    server: str, name: str, write: Callable[[OfficialSaver], None], *, analyzed: bool = True
) -> str:
    full_name = f"benchmark_{LAYOUT}_{name}"
    if not servers.exists(server, full_name):
        began = time.perf_counter()
        partial = f"{full_name}_partial"
        servers.create(server, partial)
        with OfficialSaver.from_conn_string(url_of(server, partial)) as saver:
            saver.setup()
            saver.conn.execute("SET synchronous_commit = off")  # type: ignore[union-attr]
            for table in () if analyzed else TABLES:
                saver.conn.execute(NEVER.format(table))  # type: ignore[union-attr]
            write(saver)
            if analyzed:
                saver.conn.execute("VACUUM ANALYZE")  # type: ignore[union-attr]
            saver.conn.execute("CHECKPOINT")  # type: ignore[union-attr]
            [row] = saver.conn.execute(SIZE).fetchall()  # type: ignore[union-attr]
        servers.rename(server, partial, full_name)
        seconds = time.perf_counter() - began
        print(f"generated {full_name}: {row['pg_database_size'] / 1e6:,.0f} MB, {seconds:.0f} s")
    return full_name


def _multiply(saver: OfficialSaver, number: int, kind: Threads) -> None:
    _put(saver, kind.size)
    place = {"seed": f"{number}-", "beginning": BEGINNING, "count": kind.count, "steps": kind.steps}
    for statement in (NUMBERED, MODELS, CHECKPOINTS, BLOBS, WRITES, *FORGET):
        saver.conn.execute(statement, place, prepare=False)  # type: ignore[union-attr]


def _put(saver: OfficialSaver, size: tuple[int, int], count: int = STEPS, channel: str = "messages") -> None:
    chance = random.Random(42)
    config: Any = {"configurable": {"thread_id": TEMPLATE, "checkpoint_ns": ""}}
    for number, state in enumerate(generator.states(chance, size, count), 1):
        checkpoint: Any = version(state, number)
        checkpoint["id"] = f"{number:036}"
        metadata: Any = {"source": "loop", "step": number, "parents": {}}
        config = saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])
        answers = state["channel_values"]["messages"][-1:]
        writes = [(channel, answers), ("branch:to:agent", None)]
        saver.put_writes(config, writes, f"{number:036}", "~__pregel_pull, agent")
