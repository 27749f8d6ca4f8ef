"""Threads copied between stores: LangGraph sees the same in them and goes on with them as with the source."""

from __future__ import annotations

import asyncio
import re
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import pytest
from copies import channel_bytes, history, official, rows, told
from thread_graphs import DELTAS, LIKELIEST, SHAPES, begin, go_on, original, thread, written

from checkpoints.copying import acopy_thread, copy_thread
from checkpoints.splicing.msgpacked import is_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgres import Databases

    from checkpoints.copying import Progress

# In PostgreSQL a snapshot is found from each checkpoint that has its version; in a file only one may hold it.
AGAIN = ("_DeltaSnapshot",)


class Stores(NamedTuple):
    """A file and a database that official savers wrote, and copies of all their threads."""

    file: str
    in_database: str
    back_in_file: str
    database: str
    in_file: str
    back_in_database: str


@pytest.fixture(scope="module")
def stores(postgres: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("copies")
    with postgres.database() as one, postgres.database() as two, postgres.database() as three:
        found = Stores(str(folder / "a"), one, str(folder / "b"), two, str(folder / "c"), three)
        (folder / "a").write_bytes(written())
        with official(found.database) as saver:
            for name in SHAPES:
                begin(saver, name)
        for source, target in (found[0:2], found[1:3], found[3:5], found[4:6]):
            for name in SHAPES:
                copy_thread(source, target, name)
        yield found


@pytest.mark.parametrize("name", SHAPES)
def test_langgraph_sees_in_a_copy_what_it_sees_in_the_source(name: str, stores: Stores) -> None:
    build = SHAPES[name].build
    for source, *copies in (stores[:3], stores[3:]):
        expected = history(source, build, name)
        assert [history(copy, build, name) for copy in copies] == [expected, expected]


@pytest.mark.parametrize("name", SHAPES)
def test_the_official_savers_read_the_same_checkpoints(name: str, stores: Stores) -> None:
    assert told(stores.in_database, name) == told(stores.back_in_file, name)
    assert told(stores.database, name) == told(stores.in_file, name) == told(stores.back_in_database, name)
    assert told(stores.file, name, *AGAIN) == told(stores.in_database, name, *AGAIN)
    if name not in DELTAS:
        assert told(stores.file, name) == told(stores.in_database, name)


@pytest.mark.parametrize("name", SHAPES)
def test_each_value_goes_there_and_back_byte_for_byte(name: str, stores: Stores) -> None:
    before, after = channel_bytes(stores.file, name), channel_bytes(stores.back_in_file, name)
    assert after.keys() == before.keys()
    for key, values in after.items():
        again = {channel for channel in values.keys() - before[key].keys() if is_snapshot(values[channel])}
        assert {channel: raw for channel, raw in values.items() if channel not in again} == before[key]
    assert rows(stores.back_in_file, name)["writes"] == rows(stores.file, name)["writes"]


@pytest.mark.parametrize("name", SHAPES)
def test_between_stores_of_one_kind_all_rows_stay_as_they_are(
    name: str, stores: Stores, database: str
) -> None:
    beside = f"{stores.file} of {name.replace(' ', '-')}"
    for source, target in ((stores.file, beside), (stores.database, database)):
        copy_thread(source, target, name)
        assert rows(target, name) == rows(source, name)
        copy_thread(target, target, name, "other")
        assert [row[1:] for table in rows(target, "other").values() for row in table] == [
            row[1:] for table in rows(target, name).values() for row in table
        ]


@pytest.mark.parametrize(("name", "way"), LIKELIEST)
def test_a_copy_in_postgresql_goes_on_as_one_that_began_there(
    name: str, way: str, stores: Stores, database: str
) -> None:
    """The same results, states and numbers of node runs: nothing that had finished runs again."""
    copy_thread(stores.file, database, name, f"copy of {name}")
    with official(database) as saver:
        begin(saver, name)
        assert go_on(name, way, saver, f"copy of {name}") == go_on(name, way, saver)


@pytest.mark.parametrize(("name", "way"), LIKELIEST)
def test_a_copy_in_a_file_goes_on_as_one_that_began_there(
    name: str, way: str, stores: Stores, tmp_path: Path
) -> None:
    copy_thread(stores.database, str(tmp_path / "new"), name, f"copy of {name}")
    with official(str(tmp_path / "new")) as saver:
        assert words(go_on(name, way, saver, f"copy of {name}")) == words(original(name, way))


def words(seen: list[str]) -> list[str]:
    """Return what was seen, but the order of keys: metadata that was in PostgreSQL has another one."""
    return sorted(re.findall(r"[^{}\s,]+", " ".join(seen)))


async def test_an_interrupt_is_answered_in_the_copy_by_the_id_that_it_has_in_the_source(
    stores: Stores, database: str
) -> None:
    copied = await acopy_thread(stores.file, database, "fan-out")
    assert {name: size.rows for name, size in copied.tables.items()} == {
        name: len(found) for name, found in rows(database, "fan-out").items()
    }
    with official(database) as saver, official(stores.file) as source:
        asked = [
            SHAPES["fan-out"].build(each).get_state(thread("fan-out")).interrupts for each in (saver, source)
        ]
        assert asked[0] == asked[1] != ()


async def test_all_that_is_copied_is_told_while_it_is(stores: Stores, tmp_path: Path) -> None:
    seen: list[Progress] = []
    copied = await acopy_thread(stores.database, str(tmp_path / "new"), "map", progress=seen.append)
    await asyncio.sleep(0)
    assert [step for step, _ in groupby(seen, lambda each: each.step)] == ["read", "convert", "write"]
    last = {each.step: each for each in seen}
    assert all(each.done.rows == each.total.rows for each in last.values())
    assert last["write"].total.rows == sum(size.rows for size in copied.tables.values())
