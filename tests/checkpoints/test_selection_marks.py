"""The mark of a thread is another one after every kind of change, and the same one without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stores_data import config, counter, execute, is_url, official, write

from checkpoints.selection import held
from checkpoints.stores import close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LAST = "(SELECT max(checkpoint_id) FROM {table} WHERE thread_id = 'a')"


@pytest.fixture
async def store(place: str) -> AsyncIterator[str]:
    """A store of two threads, of which `a` is the last that was written."""
    yield write(place, ["b", "a"])
    await close()


async def mark(store: str, thread_id: str = "a") -> str:
    return (await held(store, [thread_id]))[thread_id].mark


def invoke(store: str) -> None:
    write(store, ["a"])


def copy(store: str) -> None:
    with official(store) as saver:
        counter(saver).update_state(config("a"), None, as_node="__copy__")


def put_again(store: str) -> None:
    """Let the saver store what is there already."""
    with official(store) as saver:
        found = saver.get_tuple(config("a"))
        assert found.parent_config
        saver.put(found.parent_config, found.checkpoint, found.metadata, {})


def put_writes(store: str) -> None:
    with official(store) as saver:
        saver.put_writes(saver.get_tuple(config("a")).config, [("log", ["x"])], "a task")


def put_error_again(store: str) -> None:
    """Let the saver replace the one kind of write that it replaces."""
    with official(store) as saver:
        saver.put_writes(saver.get_tuple(config("a")).config, [("__error__", "y")], "a task")


def delete(table: str) -> Callable[[str], None]:
    last = LAST.format(table=table)
    return lambda store: execute(
        store, f"DELETE FROM {table} WHERE thread_id = 'a' AND checkpoint_id = {last}"
    )


def lengthen(table: str, column: str) -> Callable[[str], None]:
    def change(store: str) -> None:
        longer = '\'{"key": "a longer value"}\''
        if is_url(store) and column != "metadata":
            longer = "'a longer value'"
        execute(store, f"UPDATE {table} SET {column} = {longer} WHERE thread_id = 'a'")

    return change


CHANGES: dict[str, Callable[[str], None]] = {
    "a turn": invoke,
    "a fork": copy,
    "a checkpoint put again": put_again,
    "a write": put_writes,
    "a write put again": put_error_again,
    "a checkpoint less": delete("checkpoints"),
    "writes less": delete("writes"),
    "other metadata": lengthen("checkpoints", "metadata"),
    "another namespace": lambda store: execute(
        store, "UPDATE checkpoints SET checkpoint_ns = 'x' WHERE thread_id = 'a'"
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_of_a_thread_changes_its_mark_alone(store: str, change: Any) -> None:
    with official(store) as saver:
        saver.put_writes(saver.get_tuple(config("a")).config, [("__error__", "x")], "a task")
    before, other = await mark(store), await mark(store, "b")
    change(store)
    assert await mark(store) != before
    assert await mark(store, "b") == other


async def test_without_a_change_the_mark_stays(store: str) -> None:
    before = await mark(store)
    write(store, ["b", "c"])
    assert await mark(store) == before


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM checkpoint_blobs WHERE thread_id = 'a' AND channel = 'log' AND version LIKE '%3.%'",
        "UPDATE checkpoint_blobs SET blob = 'another' WHERE thread_id = 'a' AND channel = 'log'",
        """INSERT INTO checkpoint_blobs SELECT thread_id, checkpoint_ns, 'more', version, type, blob
           FROM checkpoint_blobs WHERE thread_id = 'a' AND channel = 'log'""",
        "UPDATE checkpoint_blobs SET type = type WHERE thread_id = 'a'",
        "UPDATE checkpoint_writes SET channel = channel WHERE thread_id = 'a'",
        "UPDATE checkpoints SET metadata = metadata WHERE thread_id = 'a'",
    ],
)
async def test_every_row_that_was_written_in_a_database_changes_the_mark(database: str, sql: str) -> None:
    before = await mark(write(database, ["a"]))
    execute(database, sql)
    assert await mark(database) != before
    await close()
