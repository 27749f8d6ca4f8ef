"""Pages of threads: each thread once, latest first, at any size."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from stores_data import (
    all_pages,
    ask,
    bound,
    checkpoint_id,
    config,
    counter,
    execute,
    ids,
    official,
    write,
    write_asking,
)

from checkpoints import errors
from checkpoints.stores import Search, SqliteStore, Store
from checkpoints.stores.budget import Budget
from checkpoints.stores.sqlite import listing, threads, timeline

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("count", [0, 1, 2, 49, 50, 51, 120])
async def test_each_thread_is_on_exactly_one_page(place: str, count: int) -> None:
    names = [f"thread {n}" for n in range(count)]
    with official(place) as saver:
        saver.setup()
    write(place, names)
    pages = await ask(place, all_pages)
    assert [row.thread_id for page in pages for row in page] == names[::-1]
    assert len(pages) == max(1, -(-count // 50)), "no empty page at the end"


async def test_interleaved_threads_stand_where_their_last_row_does(place: str) -> None:
    names = [f"t{n}" for n in range(12)]
    write(place, names + names[::3] + names[:2])
    expected = [
        *names[:2][::-1],
        *names[3::3][::-1],
        *[n for n in names[::-1] if int(n[1:]) % 3 and n != "t1"],
    ]
    for limit in (1, 2, 5, 50):
        assert await ids(place, limit=limit) == expected


async def test_a_deep_thread_in_front_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.sqlite", ["a", "b", "c", "d"] + ["deep"] * 20)
    monkeypatch.setattr(listing, "WALK", (5, 10))
    assert await ids(path) == ["deep", "d", "c", "b", "a"]
    assert await ids(path, limit=2) == ["deep", "d", "c", "b", "a"]


@pytest.mark.parametrize("few", [0, 500])
@pytest.mark.parametrize("long", [1, 5, 6, 1000])
async def test_a_long_thread_is_on_one_page_however_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: int, few: int
) -> None:
    names = ["a", "odd", "b", "odd", "c", "d", "odd", "e"]
    path = write(tmp_path / "x.sqlite", names)
    last = "(SELECT max(rowid) FROM checkpoints)"
    old = "(SELECT min(checkpoint_id) FROM checkpoints WHERE thread_id = 'odd')"
    execute(path, f"UPDATE checkpoints SET rowid = {last} + 1 WHERE checkpoint_id = {old}")
    monkeypatch.setattr(listing, "WALK", (2, 3, 3, 2, 5))
    monkeypatch.setattr(listing, "STEPS_BEFORE_FEW", 2)
    monkeypatch.setattr(listing, "FEW", few)
    monkeypatch.setattr(listing, "LONG", long)
    expected = ["odd", "e", "d", "c", "b", "a"] if long == 1000 else ["e", "odd", "d", "c", "b", "a"]
    for limit in (1, 2, 3, 50):
        assert await ids(path, limit=limit) == expected


async def test_counting_stops_at_its_bound_and_says_so(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, ["long", "long", "long", "short", "short"])
    bound(monkeypatch, "threads", "MOST_COUNTED", 6)

    async def look(store: Store) -> None:
        rows = (await store.threads()).threads
        assert [(row.checkpoints, row.at_least) for row in rows] == [(6, False), (6, True)]
        for name, at_least in (("long", True), ("short", False)):
            [row] = await store.namespaces(name)
            assert (row.checkpoints, row.at_least) == (6, at_least)

    await ask(place, look)


async def test_many_namespaces_share_what_is_counted(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_asking(place, "asking")
    bound(monkeypatch, "threads", "MOST_COUNTED_IN_ALL", 4)
    bound(monkeypatch, "threads", "LEAST_COUNTED", 1)
    rows = await ask(place, lambda store: store.namespaces("asking"))
    assert [(row.checkpoints, row.at_least) for row in rows] == [(2, False), (2, True)]
    bound(monkeypatch, "threads", "NAMESPACES_COUNTED", 1)
    [row] = (await ask(place, lambda store: store.threads())).threads
    assert (row.checkpoints, row.namespaces, row.at_least) == (5, 1, True)


async def test_a_longer_thread_costs_no_more_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LONG", 10), ("WALK", (5,)), ("STEPS_BEFORE_FEW", 1)):
        monkeypatch.setattr(listing, name, value)
    monkeypatch.setattr(threads, "MOST_COUNTED", 10)
    monkeypatch.setattr(timeline, "MOST_IN_TREE", 10)
    path = write(tmp_path / "x.sqlite", ["long"] * 20)

    async def steps(store: SqliteStore) -> int:
        ticks = itertools.count()
        await store.conn.set_progress_handler(lambda: next(ticks) < 0, 10)
        await store.threads()
        await store.namespaces("long")
        await store.timeline("long", "", limit=5)
        return next(ticks)

    short = await ask(path, steps)
    write(path, ["long"] * 60)
    assert await ask(path, steps) < short * 1.1


async def test_a_scan_that_takes_too_long_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.sqlite", ["a", "b", "c", "d"] + ["deep"] * 5)
    monkeypatch.setattr(listing, "WALK", (5,))
    monkeypatch.setattr(listing, "SCAN", 2)
    assert await ids(path) == ["deep", "d", "c", "b", "a"], "in chunks"
    monkeypatch.setattr(listing, "SCAN_SECONDS", -1)
    page = await ask(path, lambda store: store.threads())
    assert page.bound == "Only the first 2 threads in the order of their ids were looked at."


async def test_a_row_tells_what_its_thread_holds(place: str) -> None:
    states = write_asking(place, "asking")

    async def look(store: Store) -> None:
        [row] = (await store.threads()).threads
        assert (row.checkpoints, row.namespaces) == (5, 2)
        ends = [end.checkpoint_id for end in (row.head, row.first) if end]
        assert ends == [checkpoint_id(states[0]), checkpoint_id(states[-1])]
        assert [write.channel for write in row.head_writes] == ["__interrupt__"]

    await ask(place, look)


async def test_the_head_is_of_another_namespace_where_there_is_no_root(place: str) -> None:
    write_asking(place, "asking")
    execute(place, "DELETE FROM checkpoints WHERE checkpoint_ns = ''")

    async def look(store: Store) -> None:
        [row] = (await store.threads()).threads
        assert row.head
        assert row.head.checkpoint_ns.startswith("inner:")
        assert (row.checkpoints, row.namespaces) == (3, 1)

    await ask(place, look)


async def test_threads_that_have_only_writes_come_last(place: str) -> None:
    write(place, ["a", "b", "c", "d"])
    execute(place, "DELETE FROM checkpoints WHERE thread_id IN ('b', 'c')")
    for limit in (1, 2, 3, 50):
        assert await ids(place, limit=limit) == ["d", "a", "b", "c"]
    assert await ids(place, search=Search(thread_id="C")) == ["c"]

    async def look(store: Store) -> None:
        orphan = (await store.threads()).threads[-1]
        assert (orphan.checkpoints, orphan.head) == (0, None)
        [namespace] = await store.namespaces("c")
        assert (namespace.checkpoint_ns, namespace.checkpoints) == ("", 0)

    await ask(place, look)


async def test_namespaces_are_counted_each(place: str) -> None:
    write_asking(place, "asking")

    async def look(store: Store) -> None:
        rows = await store.namespaces("asking")
        assert [row.checkpoint_ns.split(":")[0] for row in rows] == ["", "inner"]
        for row in rows:
            page = await store.timeline("asking", row.checkpoint_ns)
            found = [checkpoint.checkpoint_id for checkpoint in page.checkpoints]
            assert (row.checkpoints, row.head_id, row.first_id) == (len(found), found[0], found[-1])

    await ask(place, look)


async def test_an_unknown_thread_is_not_found(place: str) -> None:
    write(place, ["a"])
    with pytest.raises(errors.ThreadNotFound):
        await ask(place, lambda store: store.namespaces("A"))


async def test_large_blobs_are_left_out_of_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.sqlite", ["small", "large"])
    execute(path, "UPDATE checkpoints SET checkpoint = zeroblob(300000) WHERE thread_id = 'large'")

    async def heads(store: Store) -> list[tuple[str, bool, bool]]:
        rows = (await store.threads()).threads
        return [(row.thread_id, row.head.skipped, row.head.blob is None) for row in rows if row.head]

    assert await ask(path, heads) == [("large", True, True), ("small", False, False)]
    monkeypatch.setattr(threads, "LISTED", Budget(1000, 0))
    assert await ask(path, heads) == [("large", True, True), ("small", True, True)]


async def test_the_probe_changes_with_every_write(place: str) -> None:
    write(place, ["a"])
    before = await ask(place, lambda store: store.change_probe())
    with official(place) as saver:
        saver.put_writes(counter(saver).get_state(config("a")).config, [("log", ["x"])], "task")
    assert await ask(place, lambda store: store.change_probe()) != before


async def test_the_overview_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "x.sqlite", ["a", "b"])
    overview = await ask(path, lambda store: store.overview())
    assert (overview.name, overview.journal_mode) == ("x.sqlite", "wal")
    assert (overview.threads, overview.threads_at_least) == (2, False)
    assert overview.bytes == path.stat().st_size
