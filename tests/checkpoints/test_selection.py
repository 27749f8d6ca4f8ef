"""Selecting threads finds what a look at every row finds, with the same numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from graphs import AWKWARD, config, run_all
from selection_oracle import Numbers, expected, rows
from stores_data import execute, official, write

from checkpoints.errors import NothingAskedFor, SelectionRefused, TooManyIds
from checkpoints.selection import MOST_IDS, Criteria, Selection, held, pasted, select
from checkpoints.snapshot import id_time
from checkpoints.stores import close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FUTURE = datetime(2100, 1, 1, tzinfo=UTC)  # the same in each process: it is in the names of tests


@pytest.fixture(scope="module")
def shapes_place(new_stores: Callable[[], str]) -> str:
    """A store with a thread of every shape; one has lost its user, another is nothing but writes."""
    place = new_stores()
    with official(place) as saver:
        run_all(saver)["chat"].update_state(config("chat"), None, as_node="__copy__")
    execute(place, "DELETE FROM checkpoints WHERE thread_id = ?", "joining")
    return place


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await close()


def told(selection: Selection) -> dict[str, Numbers]:
    return {thread.thread_id: Numbers.of(thread) for thread in selection.threads}


@pytest.mark.parametrize(
    "criteria",
    [
        Criteria(every=True),
        Criteria(thread_ids=("chat", "nested", "joining", "gone")),
        Criteria(prefix="f"),
        Criteria(prefix="<script"),
        Criteria(prefix="F"),
        Criteria(metadata=(("user_id", "ana"),)),
        Criteria(metadata=(("user_id", "ben"), ("source", "input"))),
        Criteria(metadata=(("user_id", "ana"), ("source", "fork"))),
        Criteria(metadata=(("user_id", "nobody"),)),
        Criteria(metadata=(("step", "1"),), prefix="f", idle_since=FUTURE),
        Criteria(thread_ids=("chat", "asking"), metadata=(("user_id", "ana"),)),
        Criteria(idle_since=FUTURE),
        Criteria(idle_since=datetime(2000, 1, 1, tzinfo=UTC)),
    ],
    ids=repr,
)
async def test_a_selection_is_what_a_look_at_every_row_finds(shapes_place: str, criteria: Criteria) -> None:
    assert told(await select(shapes_place, criteria)) == expected(shapes_place, criteria)


async def test_a_fork_that_lost_its_user_belongs_to_the_user(shapes_place: str) -> None:
    head = max(row.id for row in rows(shapes_place)["chat"])
    metadata = [row.metadata for row in rows(shapes_place)["chat"] if row.id == head]
    assert all("user_id" not in each for each in metadata)
    assert "chat" in told(await select(shapes_place, Criteria(metadata=(("user_id", "ana"),))))


async def test_ids_come_as_they_were_asked_for_and_those_that_are_not_there_are_named(
    shapes_place: str,
) -> None:
    asked = ("gone", "nested", AWKWARD, "chat", "\udcff", "a\0b", "nested")
    found = await select(shapes_place, Criteria(thread_ids=asked))
    assert list(told(found)) == ["nested", AWKWARD, "chat"]
    assert found.missing == ("gone", "\udcff", "a\0b")


async def test_ids_of_which_no_store_can_hold_one_select_nothing(shapes_place: str) -> None:
    found = await select(shapes_place, Criteria(thread_ids=("\udcff",)))
    assert (found.threads, found.missing) == ((), ("\udcff",))


async def test_the_same_numbers_are_told_of_known_threads(shapes_place: str) -> None:
    every = {
        thread.thread_id: thread for thread in (await select(shapes_place, Criteria(every=True))).threads
    }
    assert await held(shapes_place, [*every, "gone", "a\0b", "\udcff"]) == every
    assert await held(shapes_place, ["chat"]) == {"chat": every["chat"]}


async def test_the_age_of_a_thread_is_that_of_its_newest_checkpoint(shapes_place: str) -> None:
    newest = max(row.id for row in rows(shapes_place)["nested"])
    at = id_time(newest)
    assert at is not None
    asked: dict[str, Any] = {"thread_ids": ("nested",)}
    assert told(await select(shapes_place, Criteria(**asked, idle_since=at)))
    assert not told(await select(shapes_place, Criteria(**asked, idle_since=at - timedelta(microseconds=1))))


@pytest.mark.parametrize(
    ("status", "ids"),
    [
        ("interrupted", {"asking", "fan-out", "functional", "nested"}),
        ("error", {"failing"}),
        ("orphaned writes", {"joining"}),
    ],
)
async def test_a_status_is_that_of_the_head(shapes_place: str, status: str, ids: set[str]) -> None:
    assert set(told(await select(shapes_place, Criteria(status=status)))) == ids


@pytest.mark.parametrize(
    ("criteria", "kind"),
    [
        (Criteria(), NothingAskedFor),
        (Criteria(status="asleep"), SelectionRefused),
        (Criteria(idle_since=datetime(2026, 1, 1)), SelectionRefused),
        (Criteria(prefix="\udcff"), SelectionRefused),
        (Criteria(thread_ids=tuple(map(str, range(MOST_IDS + 1)))), TooManyIds),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    tmp_path: Any, criteria: Criteria, kind: type[SelectionRefused]
) -> None:
    with pytest.raises(kind) as refused:
        await select(write(str(tmp_path / "x.sqlite"), ["a"]), criteria)
    assert refused.value.advice


def test_a_pasted_list_has_an_id_in_each_line() -> None:
    assert pasted('\ufeffb, c\r\na\n\n \t\n  a\t\n"d"\re') == ("b, c", "a", '"d"', "e")
    assert pasted(" \n") == ()
    with pytest.raises(TooManyIds, match="100,001"):
        pasted("\n".join(map(str, range(MOST_IDS + 1))))
