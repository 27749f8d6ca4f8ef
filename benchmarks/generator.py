"""Stores of a given size, in the official schema and the official serializer's bytes.

Threads of 20 checkpoints, written by turns of four with 60 of them going on at once, as a busy agent does;
one in 20 calls a subgraph. States hold two messages, about a kilobyte. And stores of a few threads, which are
long, or whose states are large.
"""

from __future__ import annotations

import json
import random
import sqlite3
import tempfile
import time
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(tempfile.gettempdir()) / "checkpoint-explorer-benchmarks"
LAYOUT = 1  # raise it when what is generated changes
STEPS, TURN, ACTIVE = 20, 4, 60
ID = "0" * 36
TS = "0000-00-00T00:00:00.000000+00:00"
VERSION = "00000000000000000000000000000002.0.5243450906284147"
BATCH = 5_000
LONG = "long-threads"
LENGTHS = [100_000] + 20 * [5_000]  # checkpoints of each thread of that store
DELTA = "log"
SMALL, MEDIUM, LARGE = (1, 30), (5, 80), (50, 32)  # a state's turns and the words of a question: 1, 10, 50 KB

_CHECKPOINT = "INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)"
_WRITE = (
    "INSERT INTO writes "
    "(thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

Row = tuple[Any, ...]


@dataclass
class Thread:
    """A thread that is being written, with the last id of each namespace."""

    thread_id: str
    user_id: str
    steps: int = 0
    parents: dict[str, str] = field(default_factory=dict)


def store(checkpoints: int) -> Path:
    """Return the path of a store with this many checkpoints, generated once per machine."""
    return _stored(str(checkpoints), islice(_rows(random.Random(42)), checkpoints))


def long_store() -> Path:
    """Return the path of the store of long threads, generated once per machine."""
    return threads(LONG, LENGTHS)


def deep_thread() -> Path:
    """Return the path of a store with one thread of 20,000 large states, a gigabyte."""
    return threads("deep-thread", [20_000], LARGE)


def light_thread() -> Path:
    """Return the path of a store with one thread of 20,000 small states."""
    return threads("light-thread", [20_000])


def threads(name: str, lengths: list[int], size: tuple[int, int] = SMALL, *, delta: bool = False) -> Path:
    """Return the path of a store with threads of these lengths, generated once per machine.

    With `delta` what is written goes to a channel that no state holds, as to LangGraph's DeltaChannel between
    two snapshots.
    """
    return _stored(name, _shuffled(random.Random(42), lengths, size, DELTA if delta else "messages"))


def states(chance: random.Random, size: tuple[int, int], count: int) -> list[dict[str, Any]]:
    """Return checkpoints, ids and times left open, as a graph hands them to its saver."""
    return [
        _state([message for _ in range(size[0]) for message in _turn(chance, size[1])]) for _ in range(count)
    ]


def _stored(name: str, rows: Iterator[tuple[Row, list[Row]]]) -> Path:
    path = FOLDER / f"{LAYOUT}-{name}.sqlite"
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        began = time.perf_counter()
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        _write(partial, rows)
        partial.rename(path)
        seconds, size = time.perf_counter() - began, path.stat().st_size / 1e6
        print(f"generated {path}: {size:,.0f} MB, {seconds:.0f} s")
    return path


def _write(path: Path, rows: Iterator[tuple[Row, list[Row]]]) -> None:
    with closing(sqlite3.connect(path)) as conn:
        SqliteSaver(conn).setup()
        conn.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-800000")
        while batch := list(islice(rows, BATCH)):
            conn.executemany(_CHECKPOINT, (checkpoint for checkpoint, _ in batch))
            conn.executemany(_WRITE, (write for _, writes in batch for write in writes))
        conn.commit()
        conn.execute("PRAGMA journal_mode=WAL")


def _rows(chance: random.Random) -> Iterator[tuple[Row, list[Row]]]:
    blobs, values = _pool(chance)
    active = [_thread(chance) for _ in range(ACTIVE)]
    while True:
        place = chance.randrange(ACTIVE)
        thread = active[place]
        calls_subgraph = not thread.steps and chance.random() < 0.05
        for ns in ["", f"research:{_uuid(chance)}"] if calls_subgraph else [""]:
            for _ in range(TURN):
                yield _step(thread, ns, chance.choice(blobs), chance.choice(values))
        if thread.steps >= STEPS:
            active[place] = _thread(chance)


def _shuffled(
    chance: random.Random, lengths: list[int], size: tuple[int, int], channel: str
) -> Iterator[tuple[Row, list[Row]]]:
    blobs, values = _pool(chance, size)
    turns = [thread for length in lengths for thread in [_thread(chance)] * (length // TURN)]
    chance.shuffle(turns)
    for thread in turns:
        for _ in range(TURN):
            yield _step(thread, "", chance.choice(blobs), chance.choice(values), channel)


def _step(
    thread: Thread, ns: str, blob: bytes, value: bytes, channel: str = "messages"
) -> tuple[Row, list[Row]]:
    step = thread.steps - 1
    thread.steps += 1
    checkpoint_id = str(uuid6(clock_seq=step))
    parent = thread.parents.get(ns)
    thread.parents[ns] = checkpoint_id
    ts = datetime.now(UTC).isoformat(timespec="microseconds")
    state = blob.replace(ID.encode(), checkpoint_id.encode()).replace(TS.encode(), ts.encode())
    source = "loop" if thread.steps % TURN != 1 else "input"
    metadata = {"source": source, "step": step, "parents": {}, "user_id": thread.user_id}
    task_id = checkpoint_id[::-1]
    place = (thread.thread_id, ns, checkpoint_id)
    writes: list[Row] = [
        (*place, task_id, "~__pregel_pull, agent", 0, channel, "msgpack", value),
        (*place, task_id, "~__pregel_pull, agent", 1, "branch:to:agent", "null", b""),
    ]
    return (*place, parent, "msgpack", state, json.dumps(metadata).encode()), writes


def _pool(chance: random.Random, size: tuple[int, int] = SMALL) -> tuple[list[bytes], list[bytes]]:
    """Encode states and written messages with the official serializer, ids and times left open."""
    serializer = JsonPlusSerializer()
    checkpoints = states(chance, size, 200)
    answers = [checkpoint["channel_values"]["messages"][-1:] for checkpoint in checkpoints]
    blobs = [serializer.dumps_typed(checkpoint)[1] for checkpoint in checkpoints]
    return blobs, [serializer.dumps_typed(answer)[1] for answer in answers]


def _turn(chance: random.Random, words: int) -> list[HumanMessage | AIMessage]:
    return [
        HumanMessage(_words(chance, words), id=_uuid(chance)),
        AIMessage(_words(chance, 2 * words), id=_uuid(chance)),
    ]


def _state(messages: list[HumanMessage | AIMessage]) -> dict[str, Any]:
    return {
        "v": 4,
        "ts": TS,
        "id": ID,
        "channel_values": {"messages": messages, "branch:to:agent": None},
        "channel_versions": {"__start__": VERSION, "messages": VERSION, "branch:to:agent": VERSION},
        "versions_seen": {"__input__": {}, "agent": {"branch:to:agent": VERSION}},
        "updated_channels": ["messages"],
    }


def _thread(chance: random.Random) -> Thread:
    return Thread(_uuid(chance), f"user-{chance.randrange(200)}")


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _words(chance: random.Random, count: int) -> str:
    words = (
        "agent",
        "weather",
        "order",
        "refund",
        "tomorrow",
        "found",
        "result",
        "please",
        "the",
        "for",
        "with",
    )
    return " ".join(chance.choices(words, k=count))
