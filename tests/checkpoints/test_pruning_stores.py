"""Many threads pruned in short transactions: what stays is what the savers' `keep_latest` keeps."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from stores_data import counter
from thread_graphs import SHAPES, Rows, Threads, go_on, original, written

from checkpoints.deleting import forecast, pruning
from checkpoints.selection import held
from checkpoints.stores import Location, close

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from backends import Backend

PLAIN = [
    ("agent with tools", "given"),
    ("nested", "resumed"),
    ("fan-out", "resumed"),
    ("delta, asking", "resumed"),
]


class Enough(Exception):
    """Stops a pruning where a test wants it stopped."""


def prune(
    threads: Threads, thread_ids: Iterable[str] = SHAPES, told: Callable[..., None] = lambda rows: None
) -> Any:
    with pruning(Location.parse(threads.place)) as pruner:
        return pruner.prune(thread_ids, told)


def all_rows(threads: Threads) -> dict[str, Rows]:
    return {name: threads.rows(name) for name in SHAPES}


def number(rows: Mapping[str, Rows]) -> int:
    return sum(len(table) for each in rows.values() for table in each)


@pytest.fixture
def kept_by_a_saver(backend: Backend, shapes: Any, new_store: Callable[[], str]) -> dict[str, Rows]:
    """What a saver's `prune` keeps of each thread."""
    place = new_store()
    backend.fill(place, shapes)
    with backend.open(place, backend.ours.sync) as saver:
        saver.prune(list(SHAPES))
    return {name: Rows(*backend.rows_of(place, name)) for name in SHAPES}


def test_what_stays_is_what_a_saver_keeps_row_by_row(
    threads: Threads, kept_by_a_saver: dict[str, Rows]
) -> None:
    before = number(all_rows(threads))
    pruned = prune(threads)
    after = all_rows(threads)
    assert after == kept_by_a_saver
    assert pruned.rows.total() == before - number(after)
    assert pruned.refused == {}


@pytest.mark.parametrize("seed", range(10))
def test_a_pruning_that_was_stopped_goes_on_to_the_same_end(
    seed: int, threads: Threads, kept_by_a_saver: dict[str, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pace.FIRST", "pace.MOST", "pruner.THREADS"):  # many small transactions
        monkeypatch.setattr(f"checkpoints.deleting.{name}", 5)
    waiting = iter(range(seed * 5))

    def stop(_: Mapping[str, int]) -> None:
        if next(waiting, None) is None:
            raise Enough

    with pytest.raises(Enough):
        prune(threads, told=stop)
    prune(threads)
    assert all_rows(threads) == kept_by_a_saver


def test_a_second_pruning_finds_nothing(threads: Threads) -> None:
    prune(threads)
    again = prune(threads)
    assert (again.rows.total(), again.threads) == (0, 0)


def test_only_the_threads_that_are_named_are_pruned(threads: Threads) -> None:
    before = all_rows(threads)
    prune(threads, ["map, done"])
    after = all_rows(threads)
    assert {name for name in SHAPES if after[name] != before[name]} == {"map, done"}


@pytest.mark.parametrize(("name", "way"), PLAIN)
def test_a_pruned_thread_goes_on_as_if_nothing_had_happened(name: str, way: str, threads: Threads) -> None:
    prune(threads, [name])
    seen = go_on(name, way, threads.official)
    assert sorted(seen) == sorted(original(name, way))


def test_what_an_agent_stores_meanwhile_stays(threads: Threads) -> None:
    graph = SHAPES["agent with tools"].build(threads.official)
    config = {"configurable": {"thread_id": "agent with tools"}}
    stored: list[Any] = []

    def work(_: Mapping[str, int]) -> None:
        if not stored:
            graph.invoke(SHAPES["agent with tools"].given, config)
            stored.append(graph.get_state(config))

    prune(threads, ["agent with tools"], work)
    assert graph.get_state(config) == stored[0]
    ids = {row[1] for row in threads.rows("agent with tools").checkpoints}
    assert len(ids) > 2


def test_a_forecast_is_what_then_goes_and_writes_nothing(threads: Threads) -> None:
    location = Location.parse(threads.place)
    before = all_rows(threads)
    measured = asyncio.run(_held(location))
    said = forecast(location, list(measured.values()))
    assert all_rows(threads) == before
    pruned = prune(threads)
    after = asyncio.run(_held(location))
    assert +said.rows == +pruned.rows
    assert said.threads == pruned.threads
    assert said.bytes == sum(each.bytes for each in measured.values()) - sum(
        each.bytes for each in after.values()
    )


async def _held(location: Location) -> dict[str, Any]:
    try:
        return await held(location, SHAPES)
    finally:
        await close()


def test_a_thread_whose_newest_checkpoint_cannot_be_read_stays_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    (tmp_path / "store").write_bytes(written())
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(
            "UPDATE checkpoints SET checkpoint = x'c1' WHERE rowid = "
            "(SELECT rowid FROM checkpoints WHERE thread_id = 'map' AND checkpoint_ns = '' "
            "ORDER BY checkpoint_id DESC LIMIT 1)"
        )
        count = "SELECT count(*) FROM checkpoints WHERE thread_id = 'map'"
        before = conn.execute(count).fetchall()
    with pruning(Location.parse(path)) as pruner:
        pruned = pruner.prune(["map", "agent with tools"])
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute(count).fetchall() == before
    assert "thread 'map' cannot be read" in str(pruned.refused["map"])
    assert pruned.threads == 1


def test_a_file_without_a_table_of_writes_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    (tmp_path / "store").write_bytes(written())
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("DROP TABLE writes")
    with pruning(Location.parse(path)) as pruner:
        assert set(pruner.prune(["map"]).refused) == {"map"}


def test_a_long_thread_goes_in_many_transactions(backend: Backend, new_store: Callable[[], str]) -> None:
    place = new_store()
    with backend.open(place, backend.official.sync) as saver:
        for _ in range(60):
            counter(saver).invoke({"log": ["x" * 2_000]}, {"configurable": {"thread_id": "long"}})
    told: list[Mapping[str, int]] = []
    with pruning(Location.parse(place)) as pruner:
        pruned = pruner.prune(["long"], told.append)
    assert len(told) > 3
    assert pruned.rows["checkpoints"] == 60 * 3 - 1
