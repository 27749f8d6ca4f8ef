"""Deleting threads: all rows, in short transactions, of which each leaves an older state."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from backends import IN_SQLITE
from graphs import chat, config, nested, official_saver, run_all
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSqliteSaver

from checkpoints.deleting import deleting
from checkpoints.deleting import threads as deleting_threads
from checkpoints.deleting.order import Place, children_first
from checkpoints.deleting.pace import Pace
from checkpoints.stores import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backends import Backend


NAMES = "thread_id, checkpoint_ns, checkpoint_id"


class Enough(Exception):
    """Stops a deletion where a test wants it stopped."""


def delete(place: str, *thread_ids: str, told: Callable[[Mapping[str, int]], None] | None = None) -> Any:
    with deleting(Location.parse(place)) as deleter:
        return deleter.delete(thread_ids, told or (lambda rows: None))


def rows_of_all(backend: Backend, place: str, thread_id: str) -> int:
    sql = "SELECT count(*) FROM {} WHERE thread_id = ?"
    return sum(backend.execute(place, sql.format(table), thread_id)[0][0] for table in backend.tables)


def others(backend: Backend, place: str, thread_id: str) -> dict[str, list[Any]]:
    return {
        table: [row for row in rows if thread_id not in row] for table, rows in backend.raw(place).items()
    }


@pytest.fixture
def long(backend: Backend, new_store: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with a conversation of 25 turns and a subgraph, which is deleted in many transactions."""
    place = new_store()
    with official_saver(place) as saver:
        graph = chat(saver)
        for turn in range(25):
            graph.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h-{turn}")]}, config("long"))
        nested(saver).invoke({"log": []}, config("other"))
    monkeypatch.setattr("checkpoints.deleting.pace.FIRST", 20)
    monkeypatch.setattr(Pace, "took", lambda self, weight, seconds: setattr(self, "weight", 20))
    return place


@pytest.mark.parametrize("thread_id", ["chat", "nested", "forked", "asking", "big"])
def test_a_deleted_thread_is_gone_from_every_table_and_all_others_are_as_they_were(
    backend: Backend, place: str, thread_id: str
) -> None:
    with official_saver(place) as saver:
        run_all(saver)
    before, held = others(backend, place, thread_id), rows_of_all(backend, place, thread_id)
    removed = delete(place, thread_id)
    assert held == removed.rows.total() > 0
    assert rows_of_all(backend, place, thread_id) == 0
    assert others(backend, place, thread_id) == before
    assert not removed.left


def test_several_threads_go_at_once(backend: Backend, place: str) -> None:
    with official_saver(place) as saver:
        ran = run_all(saver)
    assert not delete(place, *ran, "there is none of this name").left
    assert not any(backend.raw(place).values())


def test_what_is_left_at_any_moment_is_an_older_state(backend: Backend, long: str) -> None:
    with official_saver(long) as saver:
        states = {
            at.config["configurable"]["checkpoint_id"]: at
            for at in chat(saver).get_state_history(config("long"))
        }
    newest = sorted(states, reverse=True)
    stops = 0
    for allowed in count(1):
        left = allowed

        def told(rows: Mapping[str, int]) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise Enough

        try:
            delete(long, "long", told=told)
            break
        except Enough:
            stops += 1
        with official_saver(long) as saver:
            history = list(chat(saver).get_state_history(config("long")))
        ids = [at.config["configurable"]["checkpoint_id"] for at in history]
        assert ids == newest[len(newest) - len(ids) :]
        for at, id in zip(history, ids, strict=True):
            assert (at.values, at.next, at.parent_config) == (
                states[id].values,
                states[id].next,
                states[id].parent_config,
            )
    assert stops > 5
    assert rows_of_all(backend, long, "long") == 0


def test_no_checkpoint_goes_before_its_children() -> None:
    clock_went_back = [
        Place("", "5", None, 1),
        Place("", "3", "5", 1),
        Place("", "4", "3", 1),
        Place("n", "6", "5", 1),
    ]
    assert [place.id for place in children_first(clock_went_back)] == ["6", "4", "3", "5"]


def test_links_that_loop_are_followed_once() -> None:
    loop = [Place("", "1", "2", 1), Place("", "2", "1", 1), Place("", "3", "3", 1)]
    assert sorted(place.id for place in children_first(loop)) == ["1", "2", "3"]


def test_a_thread_longer_than_a_window_goes_wholly(
    backend: Backend, long: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting_threads, "WINDOW", 7)
    removed = delete(long, "long")
    assert rows_of_all(backend, long, "long") == 0 == len(removed.left)


def test_writes_and_values_that_belong_to_no_checkpoint_go_too(backend: Backend, long: str) -> None:
    backend.execute(long, "DELETE FROM checkpoints WHERE thread_id = ?", "long")
    assert rows_of_all(backend, long, "long") > 0
    delete(long, "long")
    assert rows_of_all(backend, long, "long") == 0


def test_a_checkpoint_with_more_writes_than_a_transaction_goes_task_by_task(
    backend: Backend, long: str
) -> None:
    [(id,)] = backend.execute(long, "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ?", "long")
    with official_saver(long) as saver:
        at = {"configurable": {"thread_id": "long", "checkpoint_ns": "", "checkpoint_id": id}}
        for task in range(40):
            saver.put_writes(at, [(f"channel {n}", n) for n in range(3)], f"task-{task:02}")
    sizes: list[int] = []
    delete(long, "long", told=lambda rows: sizes.append(sum(rows.values())))
    assert max(sizes[2:]) < 30, "the first two were cut before anything was known"
    assert rows_of_all(backend, long, "long") == 0


def test_a_thread_that_was_left_half_deleted_is_finished(backend: Backend, long: str) -> None:
    def told(rows: Mapping[str, int]) -> None:
        raise Enough

    with pytest.raises(Enough):
        delete(long, "long", told=told)
    assert rows_of_all(backend, long, "long") > 0
    delete(long, "long")
    assert rows_of_all(backend, long, "long") == 0


@IN_SQLITE
def test_rows_with_ids_that_are_no_text_go_with_their_thread(backend: Backend, long: str) -> None:
    odd = "INSERT INTO checkpoints VALUES ('long', {}, {}, NULL, 'msgpack', x'80', '{{}}')"
    for ns, id in (("x'00ff'", "'1'"), ("''", "x'ff'"), ("CAST(x'ff' AS TEXT)", "CAST(x'fe' AS TEXT)")):
        backend.execute(long, odd.format(ns, id))
    delete(long, "long")
    assert rows_of_all(backend, long, "long") == 0


@IN_SQLITE
def test_a_file_of_before_pending_writes_has_one_table(backend: Backend, place: str) -> None:
    backend.execute(
        place,
        "CREATE TABLE checkpoints (thread_id TEXT, checkpoint_ns TEXT, checkpoint_id TEXT, "
        "parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB, metadata BLOB)",
    )
    backend.execute(place, "INSERT INTO checkpoints VALUES ('old', '', '1', NULL, 'json', '{}', '{}')")
    assert delete(place, "old").rows == {"checkpoints": 1}


@IN_SQLITE
def test_tables_without_rowids_are_emptied_too(backend: Backend, place: str) -> None:
    key = "thread_id TEXT, checkpoint_ns TEXT, checkpoint_id TEXT"
    columns = f"{key}, parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB, metadata BLOB"
    backend.execute(
        place,
        f"CREATE TABLE checkpoints ({columns}, PRIMARY KEY ({NAMES})) WITHOUT ROWID",
    )
    for id, key in (("1", "'1'"), ("2", "x'ff'")):
        backend.execute(
            place, f"INSERT INTO checkpoints VALUES ('t', '', {key}, NULL, 'json', '{id}', '{{}}')"
        )
    assert delete(place, "t").rows == {"checkpoints": 2}


def test_an_agent_at_work_on_another_thread_gets_no_error(backend: Backend, long: str) -> None:
    done = threading.Event()
    failures: list[Exception] = []
    turns = count()

    def work() -> None:
        with official_saver(long) as saver:
            graph = chat(saver)
            while not done.is_set():
                try:
                    graph.invoke({"messages": [HumanMessage("go on")]}, config("at work"))
                except sqlite3.Error as error:
                    failures.append(error)
                next(turns)

    agent = threading.Thread(target=work)
    agent.start()
    while next(turns) < 4:
        done.wait(0.05)
    delete(long, "long")
    done.set()
    agent.join()
    assert failures == []
    assert rows_of_all(backend, long, "at work") > 0 == rows_of_all(backend, long, "long")


def test_a_thread_that_its_agent_goes_on_with_is_told_as_left(backend: Backend, long: str) -> None:
    with official_saver(long) as saver, deleting(Location.parse(long)) as deleter:
        graph = chat(saver)

        def told(rows: Mapping[str, int]) -> None:
            graph.update_state(config("long"), {"messages": [AIMessage("I am back")]}, as_node="agent")

        removed = deleter.delete(["long"], told)
    assert removed.left == {"long"}
    assert rows_of_all(backend, long, "long") > 0


def test_the_pace_follows_how_long_transactions_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    pace = Pace(locked=0.01)
    pace.weight = 4_000
    pace.took(4_000, 0.04)
    assert pace.weight == 1_000
    pace.took(1_000, 0.005)
    assert pace.weight == 2_000
    pace.took(2, 0.001)
    assert pace.weight == 2_000, "a small transaction tells nothing of a large one"


def test_where_every_transaction_takes_long_small_ones_gain_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    pace = Pace(locked=0.01)
    for _ in range(30):
        pace.took(pace.weight, 0.03)
    assert pace.weight == 256


@IN_SQLITE
def test_what_an_owner_protects_by_a_trigger_stays_and_is_told(backend: Backend, long: str) -> None:
    backend.fail(long, "BEFORE DELETE", "checkpoints", "OLD.thread_id = 'long'", "keep this")
    with pytest.raises(Exception, match="refused a row"):
        delete(long, "long")
    with closing(sqlite3.connect(long)) as conn:
        assert OfficialSqliteSaver(conn).get(config("long"))
