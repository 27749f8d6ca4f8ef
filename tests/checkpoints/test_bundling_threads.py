"""Threads exported into a bundle and imported again: every row is what it was, and they go on as before."""

from __future__ import annotations

import asyncio
import os
import stat
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from copies import TABLES, history, official, told
from stores_data import traces, write
from thread_graphs import LIKELIEST, SHAPES, begin, go_on, written

from checkpoints.bundling import (
    Progress,
    aimport_bundle,
    awrite_bundle,
    describe,
    import_bundle,
    write_bundle,
)
from checkpoints.errors import NoCheckpointTables
from checkpoints.stores import Location, check, read

if TYPE_CHECKING:
    from pathlib import Path

    from thread_graphs import Rows, Threads

ORPHAN = "INSERT INTO checkpoint_blobs VALUES ('map', '', 'nobody', '9', 'msgpack', ?)"
RETURNED = ["interrupt", "nested", "fan-out", "map", "delta, asking", "memory, asking", "trip", "functional"]


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    """The path of a bundle that is not there yet."""
    return str(tmp_path / "kept.bundle")


def all_rows(threads: Threads) -> dict[str, Rows]:
    """Return the rows of each thread, JSON as the text that the server makes of it."""
    return {name: threads.rows(name) for name in SHAPES}


def number(threads: Threads) -> int:
    return sum(len(threads.execute(f"SELECT 1 FROM {table}")) for table in TABLES[threads.backend.name])


def delete(threads: Threads, *thread_ids: str) -> None:
    for thread_id in thread_ids:
        threads.official.delete_thread(thread_id)


def test_what_was_exported_and_deleted_comes_back_row_by_row(threads: Threads, bundle: str) -> None:
    if threads.backend.name == "postgres":
        threads.execute(ORPHAN, b"\xc0")  # a blob that no checkpoint refers to
    before, count = all_rows(threads), number(threads)
    bundled = write_bundle(threads.place, None, bundle)
    delete(threads, *SHAPES)
    assert number(threads) == 0
    imported = import_bundle(bundle, threads.place)
    assert all_rows(threads) == before
    assert number(threads) == count == sum(size.rows for size in imported.tables.values())
    assert (imported.threads, imported.refused, imported.left) == (len(SHAPES), {}, 0)
    assert imported.tables == bundled.tables


def test_only_the_threads_that_are_named_are_exported_and_imported(threads: Threads, bundle: str) -> None:
    before = all_rows(threads)
    assert write_bundle(threads.place, ["map", "fan-out", "nested", "map"], bundle).threads == 3
    delete(threads, *SHAPES)
    assert import_bundle(bundle, threads.place, thread_ids=["nested", "map"]).threads == 2
    assert (threads.rows("nested"), threads.rows("map")) == (before["nested"], before["map"])
    assert number(threads) == sum(len(rows) for name in ("nested", "map") for rows in before[name])


@pytest.mark.parametrize(("name", "way"), [each for each in LIKELIEST if each[0] in RETURNED])
def test_a_thread_goes_on_after_its_return_as_if_it_had_never_been_away(
    name: str, way: str, threads: Threads, bundle: str, new_store: Any
) -> None:
    write_bundle(threads.place, [name], bundle)
    delete(threads, name)
    import_bundle(bundle, threads.place)
    with official(new_store()) as saver, official(threads.place) as returned:
        begin(saver, name)
        assert go_on(name, way, returned) == go_on(name, way, saver)


def test_a_bundle_of_a_file_is_a_store(tmp_path: Path, bundle: str) -> None:
    (tmp_path / "store").write_bytes(written())
    write_bundle(str(tmp_path / "store"), None, bundle)
    page = asyncio.run(read(Location.parse(bundle), lambda store: store.threads()))
    assert {row.thread_id for row in page.threads} == {*SHAPES}
    assert told(bundle, "nested") == told(str(tmp_path / "store"), "nested")


def test_who_opens_a_bundle_of_postgresql_is_told_how_to_look_into_it(bundle: str, database: str) -> None:
    write_bundle(write(database, ["t"]), None, bundle)
    with pytest.raises(NoCheckpointTables, match="is a bundle of a PostgreSQL store"):
        check(Location.parse(bundle))


@pytest.mark.parametrize("name", ["agent with tools", "nested", "delta 5", "map"])
def test_a_bundle_goes_into_a_store_of_the_other_kind(
    name: str, threads: Threads, bundle: str, tmp_path: Path, database: str
) -> None:
    other = database if threads.backend.name == "sqlite" else str(tmp_path / "other")
    write_bundle(threads.place, [name], bundle)
    assert import_bundle(bundle, other).threads == 1
    assert history(other, SHAPES[name].build, name) == history(threads.place, SHAPES[name].build, name)


async def test_all_of_it_is_told_while_it_is_done(threads: Threads, bundle: str) -> None:
    seen: list[Progress] = []
    await awrite_bundle(threads.place, None, bundle, progress=seen.append)
    delete(threads, *SHAPES)
    imported = await aimport_bundle(bundle, threads.place, progress=seen.append)
    await asyncio.sleep(0)
    assert [step for step, _ in groupby(seen, lambda each: each.step)] == ["export", "check", "import"]
    last = {each.step: each for each in seen}
    assert {each.threads for each in last.values()} == {len(SHAPES)}
    assert last["import"].done.rows == sum(size.rows for size in imported.tables.values())


def test_a_bundle_is_for_its_owner_alone_and_nothing_lies_beside_it(threads: Threads, bundle: str) -> None:
    before = set(os.listdir(os.path.dirname(bundle)))
    bundled = write_bundle(threads.place, ["map"], bundle)
    assert stat.S_IMODE(os.stat(bundle).st_mode) == 0o600
    assert set(os.listdir(os.path.dirname(bundle))) - before == {"kept.bundle"}
    assert bundled.bytes == os.stat(bundle).st_size


def test_a_file_is_exported_without_a_trace(tmp_path: Path, bundle: str) -> None:
    (tmp_path / "alone").mkdir()
    store = tmp_path / "alone" / "store"
    store.write_bytes(written())
    before = traces(store.parent)
    write_bundle(str(store), None, bundle)
    assert traces(store.parent) == before


def test_a_bundle_says_what_it_is(threads: Threads, bundle: str) -> None:
    bundled = write_bundle(threads.place, ["map", "nested"], bundle)
    told = describe(bundle)
    assert (told.threads, told.bytes) == (2, bundled.bytes)
    assert (told.header.kind, told.header.tables) == (threads.backend.name, bundled.tables)
    assert told.header.store == Location.parse(threads.place).name
    assert "postgresql://" not in told.header.store
