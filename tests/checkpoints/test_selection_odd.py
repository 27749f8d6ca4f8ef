"""Selections in stores that no saver writes, in many portions, and within bounds."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from selection_oracle import Numbers, expected
from stores_data import ask, execute, official, traces, write

from checkpoints import selection
from checkpoints.errors import ReadTimeout
from checkpoints.selection import Criteria, Progress, Selection, held, portions, select
from checkpoints.selection.portions import Pace
from checkpoints.stores import Location, close, read
from checkpoints.stores.sqlite import connection
from checkpoints.stores.sqlite import selection as of_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EVERY = Criteria(every=True)
ANA = Criteria(metadata=(("user_id", "ana"),))
LOOSE = "CREATE TABLE {table} (thread_id, checkpoint_ns, checkpoint_id, {columns})"


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await close()


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read two threads at a time, by three connections, and three ids by a scan."""
    for kind in ("sqlite", "postgres"):
        monkeypatch.setitem(portions.PACES, kind, Pace(3, 2, 2))
    monkeypatch.setattr(portions, "FEW", 1)
    monkeypatch.setattr(of_files, "SCAN", 3)
    monkeypatch.setattr(of_files, "MOST", 2)


def told(found: Selection) -> dict[str, Numbers]:
    return {thread.thread_id: Numbers.of(thread) for thread in found.threads}


def loose(path: Path, rows: list[tuple[Any, ...]]) -> Path:
    """Make a file whose columns have no type, with these rows: thread, namespace, id, state, metadata."""
    with closing(sqlite3.connect(path)) as file, file:
        columns = "parent_checkpoint_id, type, checkpoint, metadata"
        file.execute(LOOSE.format(table="checkpoints", columns=columns))
        file.execute(LOOSE.format(table="writes", columns="task_id, idx, channel, type, value"))
        file.executemany("INSERT INTO checkpoints VALUES (?, ?, ?, NULL, 'msgpack', ?, ?)", rows)
        file.execute("CREATE INDEX loose ON checkpoints (thread_id, checkpoint_ns, checkpoint_id)")
    return path


@pytest.mark.usefixtures("few_at_once")
async def test_many_portions_come_to_the_same(place: str) -> None:
    write(place, [f"t{n}" for n in range(20)], user_id="ana")
    write(place, [f"u{n}" for n in range(5)], user_id="ben")
    execute(place, "DELETE FROM checkpoints WHERE thread_id IN ('t3', 'u1', 'u4')")
    for criteria in (EVERY, ANA, Criteria(prefix="t1"), Criteria(thread_ids=("u1", "t3", "x", "t9"))):
        assert told(await select(place, criteria)) == expected(place, criteria)


@pytest.mark.usefixtures("few_at_once")
async def test_progress_counts_up_to_all(place: str) -> None:
    write(place, [f"t{n}" for n in range(9)])
    seen: list[Progress] = []
    await select(place, EVERY, progress=seen.append)
    assert [progress.done for progress in seen] == sorted({progress.done for progress in seen})
    assert seen[-1] == Progress(9, 9)


async def test_ids_that_are_no_text_are_told_apart_from_equal_ones(tmp_path: Path) -> None:
    ids = ["7", 7, b"7", "a", b"a", 1.5, "1.5", "a\0b", "\u00e9", ""]
    rows = [(id, "", "1", b"x" * n, b"{}") for n, id in enumerate(ids)]
    path = loose(tmp_path / "x.sqlite", rows)
    found = await select(str(path), EVERY)
    assert {thread.thread_id: thread.bytes - 2 for thread in found.threads} == {
        "7": 0, "a": 3, "1.5": 6, "a\0b": 7, "\u00e9": 8, "": 9
    }  # fmt: skip
    assert {thread.thread_id: thread.bytes - 2 for thread in found.unnamed} == {
        "integer:7": 1, "blob:37": 2, "blob:61": 4, "real:1.5": 5
    }  # fmt: skip
    assert {id: thread.bytes - 2 for id, thread in (await held(str(path), ["7", "a\0b"])).items()} == {
        "7": 0,
        "a\0b": 7,
    }


@pytest.mark.usefixtures("few_at_once")
async def test_ids_that_are_no_utf8_are_each_a_thread_and_named_by_their_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "x.sqlite", list("abcdefgh"), user_id="ana")
    for table in ("checkpoints", "writes"):
        for id in ("a", "b", "h"):
            odd = f"CAST(x'62ff{ord(id):02x}' AS TEXT)"
            execute(path, f"UPDATE {table} SET thread_id = {odd} WHERE thread_id = '{id}'")
    found = await select(str(path), ANA)
    assert {thread.thread_id for thread in found.unnamed} == {"text:62ff61", "text:62ff62", "text:62ff68"}
    assert all((thread.checkpoints, thread.namespaces) == (3, 1) for thread in found.unnamed)
    assert {thread.thread_id for thread in found.threads} == set("cdefg")


@pytest.mark.parametrize("rotten", [None, b"\xff\xfe", b"{", b"[1]", b"null", 7, "text", b""])
async def test_rotten_rows_are_counted(tmp_path: Path, rotten: object) -> None:
    path = write(tmp_path / "x.sqlite", ["a", "b"], user_id="ana")
    execute(path, "UPDATE checkpoints SET metadata = ?1, checkpoint = ?1 WHERE thread_id = 'a'", rotten)
    execute(path, "UPDATE writes SET value = ? WHERE thread_id = 'a'", rotten)
    assert {id: found[:2] for id, found in told(await select(str(path), EVERY)).items()} == {
        id: found[:2] for id, found in expected_sizes(path).items()
    }
    assert set(told(await select(str(path), ANA))) == {"b"}
    assert set(told(await select(str(path), Criteria(status="unreadable")))) == {"a"}


def expected_sizes(path: Path) -> dict[str, Any]:
    """Count rows and bytes where the metadata cannot be parsed."""
    sql = {
        "checkpoints": "SELECT thread_id, CAST(checkpoint AS BLOB), CAST(metadata AS BLOB) FROM checkpoints",
        "writes": "SELECT thread_id, CAST(value AS BLOB), NULL FROM writes",
    }
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    sizes: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    with closing(sqlite3.connect(path)) as file:
        for place, query in enumerate(sql.values()):
            for id, *values in file.execute(query):
                rows[id][place] += 1
                # A number is no content, and has no length but that of its text.
                sizes[id][place] += sum(len(value or b"") for value in values)
    return {id: (tuple(rows[id]), tuple(sizes[id])) for id in rows}


async def test_rare_metadata_are_found_among_rows_of_any_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.sqlite", [f"t{n}" for n in range(40)], user_id="ben")
    write(path, ["a", "b"], user_id="ana")
    execute(
        path,
        "UPDATE checkpoints SET rowid = ? WHERE thread_id = 't7' AND checkpoint_id = (SELECT"
        " max(checkpoint_id) FROM checkpoints WHERE thread_id = 't7')",
        2**63 - 1,
    )
    execute(path, "UPDATE checkpoints SET rowid = ? WHERE rowid = 1", -(2**63))
    execute(path, "UPDATE checkpoints SET metadata = '{\"user_id\": \"ana\"}' WHERE rowid IN (?, ?)",
            -(2**63), 2**63 - 1)  # fmt: skip
    monkeypatch.setattr(of_files, "ROWS", 7)
    for share in (0, 2):
        monkeypatch.setattr(of_files, "RARE", share)
        assert set(told(await select(str(path), ANA))) == {"a", "b", "t0", "t7"}


async def test_tables_without_rowids_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    columns = "thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL, checkpoint_id TEXT NOT NULL"
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(
            f"CREATE TABLE checkpoints ({columns}, parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB,"
            " metadata BLOB, PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)) WITHOUT ROWID"
        )
        file.execute(
            f"CREATE TABLE writes ({columns}, task_id TEXT NOT NULL, idx INTEGER NOT NULL, channel TEXT,"
            " type TEXT, value BLOB, PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx))"
            " WITHOUT ROWID"
        )
    write(path, ["b", "a"], user_id="ana")
    for criteria in (EVERY, ANA):
        assert told(await select(str(path), criteria)) == expected(path, criteria)


async def test_a_file_without_writes_is_measured(tmp_path: Path) -> None:
    path = write(tmp_path / "x.sqlite", ["a", "b"], user_id="ana")
    execute(path, "DELETE FROM writes")
    numbers = expected(path, EVERY)
    execute(path, "DROP TABLE writes")
    found = await select(str(path), EVERY)
    assert (told(found), found.tables) == (numbers, ("checkpoints",))
    assert found.missing == ()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_rows_come_to_what_a_look_at_each_tells(place: str, data: st.DataObject) -> None:
    text = st.sampled_from(["", "a", "A", "ab", "b", "\u00e9", "a%", "a_", "\U0010ffff", "~"])
    keys = st.tuples(text, text, text.filter(bool))
    pairs = st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["x", "1", "y z", "\u00fc"]))
    with official(place):
        execute(place, "DELETE FROM checkpoints")
        execute(place, "DELETE FROM writes")
    for key, metadata in data.draw(st.dictionaries(keys, pairs, max_size=12)).items():
        put_row(place, key, metadata)
    for key in data.draw(st.sets(keys, max_size=4)):
        put_write(place, key)
    wanted = tuple(data.draw(pairs).items())
    ids = tuple(data.draw(st.sets(text, max_size=3)))
    for criteria in (
        Criteria(prefix=data.draw(text), metadata=wanted, every=True),
        Criteria(thread_ids=ids, metadata=wanted, every=True),
    ):
        assert told(await select(place, criteria)) == expected(place, criteria)


def put_row(place: str, key: tuple[str, str, str], metadata: dict[str, str]) -> None:
    columns = "thread_id, checkpoint_ns, checkpoint_id, checkpoint, metadata"
    execute(
        place,
        f"INSERT INTO checkpoints ({columns}) VALUES (?, ?, ?, ?, ?)",
        *key,
        json.dumps({"id": key[2]}),
        json.dumps(metadata, ensure_ascii=False),
    )


def put_write(place: str, key: tuple[str, str, str]) -> None:
    value = "value" if not place.startswith("postgresql") else "blob"
    columns = f"thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, {value}"
    execute(place, f"INSERT INTO writes ({columns}) VALUES (?, ?, ?, 't', 0, 'c', 'null', 'v')", *key)


async def test_selecting_leaves_no_trace(tmp_path: Path) -> None:
    path = write(tmp_path / "x.sqlite", ["a", "b"], user_id="ana")
    before = traces(tmp_path)
    assert told(await select(str(path), ANA)).keys() == {"a", "b"}
    assert traces(tmp_path) == before


async def test_a_selection_that_takes_too_long_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.sqlite", [f"t{n}" for n in range(50)])
    monkeypatch.setattr(connection, "DEADLINE_STEPS", 50)
    monkeypatch.setattr(selection, "SECONDS", 0)
    with pytest.raises(ReadTimeout, match="more than 0 seconds"):
        await select(str(path), EVERY)


async def test_a_database_is_read_for_as_long_as_asked(database: str) -> None:
    write(database, ["a"])

    async def sleep(store: Any) -> None:
        await store.conn.execute("SELECT pg_sleep(5)")

    with pytest.raises(ReadTimeout, match="more than 1 seconds"):
        await read(Location.parse(database), sleep, seconds=0.6)
    assert await ask(database, lambda store: store.threads())


async def test_a_selection_that_is_cancelled_reads_no_further(place: str) -> None:
    write(place, [f"t{n}" for n in range(4)])
    reached = asyncio.Event()

    def stop(_: Progress) -> None:
        reached.set()
        task.cancel()

    task = asyncio.ensure_future(select(place, EVERY, progress=stop))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reached.is_set()


async def test_a_database_in_partitions_is_measured(database: str) -> None:
    write(database, ["a", "b", "c", "d"], user_id="ana")
    numbers = expected(database, ANA)
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        execute(database, f"ALTER TABLE {table} RENAME TO whole_{table}")
        execute(database, f"CREATE TABLE {table} (LIKE whole_{table}) PARTITION BY HASH (thread_id)")
        for part in range(2):
            values = f"WITH (MODULUS 2, REMAINDER {part})"
            execute(database, f"CREATE TABLE {table}_{part} PARTITION OF {table} FOR VALUES {values}")
        execute(database, f"INSERT INTO {table} SELECT * FROM whole_{table}")
    assert told(await select(database, ANA)) == numbers


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
async def test_an_agent_writes_while_threads_are_selected(tmp_path: Path, mode: str) -> None:
    path = write(tmp_path / "x.sqlite", [f"t{n}" for n in range(60)], user_id="ana")
    with closing(sqlite3.connect(path, timeout=1)) as agent:
        agent.execute(f"PRAGMA journal_mode={mode}")
        agent.execute("UPDATE writes SET idx = idx")
        agent.commit()
        written: list[int] = []

        def write_on(now: Progress) -> None:
            with agent:
                agent.execute("UPDATE checkpoints SET type = type WHERE thread_id = 't0'")
            written.append(now.done)

        found = await select(str(path), ANA, progress=write_on)
    assert len(found.threads) == 60
    assert written
