"""Where the bytes go: numbers are what SQL says of the rows, or close to it where some were looked at."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from copies import execute, kind
from stores_data import ask, traces
from thread_graphs import begin, written

from checkpoints.stores.sqlite.usage import spread
from checkpoints.stores.usage import Usage, is_call, kind_of

if TYPE_CHECKING:
    from pathlib import Path

    from thread_graphs import Threads

SIZES = {
    "sqlite": {
        "checkpoints": "length(checkpoint) + length(metadata)",
        "writes": "length(value)",
    },
    "postgres": {
        "checkpoints": "pg_column_size(checkpoint) + pg_column_size(metadata)",
        "checkpoint_blobs": "coalesce(octet_length(blob), 0)",
        "checkpoint_writes": "octet_length(blob)",
    },
}


def usage(place: str) -> Usage:
    return asyncio.run(ask(place, lambda store: store.usage()))


def summed(place: str, by: str) -> dict[str, int]:
    """Return the bytes of content of all tables, grouped by a column."""
    found: dict[str, int] = {}
    for table, size in SIZES[kind(place)].items():
        for key, amount in execute(place, f"SELECT {by}, sum({size}) FROM {table} GROUP BY {by}"):
            found[key] = found.get(key, 0) + int(amount)
    return found


def test_tables_threads_and_namespaces_are_what_their_rows_are(threads: Threads) -> None:
    found = usage(threads.place)
    rows = {
        table: execute(threads.place, f"SELECT count(*) FROM {table}")[0][0]
        for table in SIZES[threads.backend.name]
    }
    assert {table.name: table.rows for table in found.tables} == rows
    by_thread = summed(threads.place, "thread_id")
    assert found.content == sum(by_thread.values())
    assert [each.bytes for each in found.threads] == sorted(by_thread.values(), reverse=True)[:20]
    assert all(each.bytes == by_thread[each.thread_id] for each in found.threads)
    kinds: dict[str, int] = {}
    for ns, amount in summed(threads.place, "checkpoint_ns").items():
        kinds[kind_of(ns)] = kinds.get(kind_of(ns), 0) + amount
    assert {each.kind: each.bytes for each in found.namespaces} == kinds
    assert found.bound is None


def test_the_head_of_each_thread_is_named(threads: Threads) -> None:
    for each in usage(threads.place).threads:
        sql = "SELECT max(checkpoint_id), count(*) FROM checkpoints WHERE thread_id = %s"
        assert [(each.head_id, each.checkpoints)] == execute(threads.place, sql, each.thread_id)


def test_channels_add_up_to_what_states_and_writes_take(threads: Threads) -> None:
    found = usage(threads.place)
    held = {table.name: table.bytes for table in found.tables}
    writes = held["writes" if threads.backend.name == "sqlite" else "checkpoint_writes"]
    assert sum(each.writes for each in found.channels) == writes
    states = sum(each.states for each in found.channels)
    assert states == pytest.approx(sum(held.values()) - writes, rel=0.01)
    assert {"messages", "log"} <= {each.name for each in found.channels}


def test_what_is_kept_is_the_newest_checkpoint_of_each_namespace_but_those_of_calls(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_bytes(written())
    sql = """
        SELECT checkpoint_ns, length(checkpoint) + length(metadata) FROM checkpoints AS c
        WHERE checkpoint_id = (SELECT max(checkpoint_id) FROM checkpoints
                               WHERE thread_id = c.thread_id AND checkpoint_ns = c.checkpoint_ns)"""
    kept = sum(size for ns, size in execute(str(path), sql) if not is_call(ns))
    found = usage(str(path))
    assert found.freed == found.content - kept
    assert found.deltas


FINISHED = ["agent with tools", "joined", "joined, forked", "map, done", "nested, done", "resumed"]


def test_what_pruning_is_said_to_free_is_what_it_frees(new_store: Any, backend: Any) -> None:
    place = new_store()
    with backend.open(place, backend.ours.sync) as saver:
        for name in FINISHED:
            begin(saver, name)
        said = usage(place)
        saver.prune(FINISHED)
    assert said.freed == pytest.approx(said.content - usage(place).content, rel=0.03)


def test_of_a_large_file_a_part_is_looked_at_and_stands_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    path.write_bytes(written())
    whole = usage(str(path))
    for name, value in (("SECONDS", -1), ("STRETCH", 100)):
        monkeypatch.setattr(f"checkpoints.stores.sqlite.usage.{name}", value)
    part = usage(str(path))
    assert part.bound is not None
    assert "% of checkpoints and " in part.bound
    assert part.tables[0].rows == pytest.approx(whole.tables[0].rows, rel=0.15)
    assert 0 < part.freed < part.content
    by_thread = {each.thread_id: each.bytes for each in whole.threads}
    exact = [each for each in part.threads if each.thread_id in by_thread]
    assert exact
    assert all(each.bytes == by_thread[each.thread_id] for each in exact)


def test_of_a_large_store_of_either_kind_some_rows_are_looked_at(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkpoints.stores.postgres.usage.PAGES", 12)
    monkeypatch.setattr("checkpoints.stores.sqlite.usage.STRETCH", 100)
    monkeypatch.setattr("checkpoints.stores.sqlite.usage.SECONDS", -1)
    found = usage(threads.place)
    assert found.bound is not None
    assert "numbers are estimates" in found.bound
    [(rows,)] = execute(threads.place, "SELECT count(*) FROM checkpoints")
    assert rows / 4 < found.tables[0].rows < rows * 4


@pytest.mark.parametrize("count", [1, 2, 7, 8, 100])
def test_the_first_of_spread_numbers_are_far_apart_and_all_of_them_come(count: int) -> None:
    numbers = list(spread(count))
    assert sorted(numbers) == list(range(count))
    assert numbers[0] == 0
    assert count < 7 or abs(numbers[1] - numbers[0]) >= count // 2 - 1


def test_a_file_says_how_much_of_it_is_free(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    (tmp_path / "store").write_bytes(written())
    assert usage(path).free == 0
    execute(path, "DELETE FROM checkpoints WHERE thread_id > 'm'")
    with closing(sqlite3.connect(path)) as conn:
        [(free, page)] = conn.execute(
            "SELECT freelist_count, page_size FROM pragma_freelist_count, pragma_page_size"
        )
    assert usage(path).free == free * page > 0


def test_an_empty_store_has_nothing(new_store: Any, backend: Any) -> None:
    place = new_store()
    with backend.open(place, backend.ours.sync):
        found = usage(place)
    assert (found.content, found.threads, found.channels, found.freed) == (0, (), (), 0)
    assert found.bound is None


def test_states_that_cannot_be_taken_apart_are_named_for_what_they_are(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    (tmp_path / "store").write_bytes(written())
    execute(path, "UPDATE checkpoints SET checkpoint = x'c1' WHERE thread_id = 'interrupt'")
    execute(path, "UPDATE checkpoints SET type = 'msgpack+aes' WHERE thread_id = 'failed'")
    execute(path, "UPDATE checkpoints SET type = 'pickle' WHERE thread_id = 'map'")
    names = {each.name for each in usage(path).channels if each.ours}
    assert {"states that cannot be read", "encrypted states", "versions, ids and the like"} <= names


def test_a_table_without_rowids_is_added_up_too(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    (tmp_path / "store").write_bytes(written())
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("ALTER TABLE checkpoints RENAME TO old")
        [(sql,)] = conn.execute("SELECT sql FROM sqlite_master WHERE name = 'old'")
        conn.execute(sql.replace('"old"', "checkpoints") + " WITHOUT ROWID")
        conn.execute("INSERT INTO checkpoints SELECT * FROM old")
        conn.execute("DROP TABLE old")
    assert usage(path).content == sum(summed(path, "thread_id").values())


def test_a_store_is_measured_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(written())
    before = traces(tmp_path)
    usage(str(tmp_path / "store"))
    assert traces(tmp_path) == before
