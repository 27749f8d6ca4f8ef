"""Deleted runs: whose checkpoints go, what LangGraph sees then, and when deletion is refused."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from backends import EACH_KIND, IN_SQLITE
from graphs import asking, chat, joining
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSqliteSaver
from langgraph.types import Command, Overwrite
from saver_graphs import plain
from thread_graphs import (
    NOTHING,
    Executions,
    Threads,
    asynchronous,
    counting,
    delta,
    remembering,
    say,
    sync,
    thread,
    view,
)

from checkpoints.errors import HistoryNeeded
from checkpoints.sqlite.driver import run, transaction
from checkpoints.sqlite.runs import PAGE, RunSearch
from checkpoints.sqlite.tables import SqliteTables

if TYPE_CHECKING:
    from backends import Backend

FAILURE = (sqlite3.Error, psycopg.Error)
CALLS = [sync, asynchronous]
RUNS = [str(UUID(int=n)) for n in range(5)]
GRAPHS: dict[str, Any] = {
    "agent": chat,
    "joined": joining,
    "memory": remembering,
    "delta 1": delta(1, 1),
    "delta 100": delta(100),
}
COUNT = "SELECT count(*) FROM checkpoints"


def given(name: str, n: int) -> Any:
    return say(n) if name == "agent" else {"log": [f"run {n}"], "n": 10 * n + 1}


def of_run(n: int, thread_id: str = "1", **more: Any) -> Any:
    return thread(thread_id, metadata={"run_id": RUNS[n]}, **more)


def do(saver: Any, name: str, *runs: int, thread_id: str = "1", **more: Any) -> Any:
    """Do runs of a graph and return it."""
    graph = GRAPHS[name](saver)
    for n in runs:
        graph.invoke(given(name, n), of_run(n, thread_id, **more))
    return graph


def head(graph: Any) -> Any:
    return view(graph, thread("1"))


@pytest.mark.parametrize("place", ["metadata", "configurable"])
def test_langgraph_stores_the_run_id_that_a_config_names(place: str, empty: Threads) -> None:
    config = thread("1")
    config.setdefault(place, {})["run_id"] = RUNS[1]
    remembering(empty.ours).invoke({"n": 1, "log": []}, config)
    assert empty.rows("1").sizes == {"": 4, "memory": 5, "memory|call:": 3}
    empty.ours.delete_for_runs([RUNS[1]])
    assert empty.rows("1") == NOTHING


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["agent", "joined", "memory"])
def test_without_its_last_run_a_thread_is_what_it_was_before(name: str, call: Any, empty: Threads) -> None:
    saver = empty.official
    before = head(do(saver, name, 1)), empty.rows("1")
    assert head(do(saver, name, 2)) != before[0]
    call(empty, "delete_for_runs", [RUNS[2]])
    assert (head(GRAPHS[name](saver)), empty.rows("1")) == before


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("opens", ["ours", "official"])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_thread_without_its_last_run_goes_on_as_if_it_had_never_been(
    name: str, opens: str, durability: str, empty: Threads
) -> None:
    saver = getattr(empty, opens)
    before = head(do(saver, name, 1))
    do(saver, name, 2, durability=durability)
    empty.ours.delete_for_runs([RUNS[2]])
    assert head(do(saver, name)) == before
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as other:
        expected = head(do(OfficialSqliteSaver(other), name, 1, 3, 4))
    assert plain(head(do(saver, name, 3, 4)).values) == plain(expected.values)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["agent", "joined", "delta 1"])
def test_a_middle_run_goes_and_the_head_stays(name: str, call: Any, empty: Threads) -> None:
    """Nothing that stays names one of its checkpoints."""
    saver = empty.ours
    graph = do(saver, name, 1, 2, 3)
    if name == "delta 1":  # whole in its first checkpoint too: its input came from elsewhere
        graph.update_state(of_run(4), {"log": Overwrite(["anew"]), "rare": Overwrite([])}, as_node="ask")
    before, all_rows = head(graph), empty.rows("1")
    middle = [row[1] for row in all_rows.checkpoints if RUNS[2] in str(row[5])]
    call(empty, "delete_for_runs", [RUNS[2], *([RUNS[3]] if name == "delta 1" else [])])
    left = empty.rows("1")
    assert head(graph) == before
    assert not {row[1] for row in left.checkpoints} & set(middle)
    assert not {row[1] for row in left.writes} & set(middle)
    assert not {row[2] for row in left.checkpoints} & set(middle)
    ends = {row[2] for row in all_rows.checkpoints if RUNS[3] in str(row[5])} & set(middle)
    assert len(ends) == 1


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("runs", [[1], [2], [1, 2], [1, 3], [2, 0]])
def test_a_run_that_a_delta_channel_needs_is_refused(runs: list[int], call: Any, empty: Threads) -> None:
    saver = empty.ours
    do(saver, "agent", 1, 2, 3, thread_id="other")
    do(saver, "delta 100", 1, 2, 3, 4)
    before = empty.rows("1"), empty.rows("other")
    with pytest.raises(HistoryNeeded, match="'1'"):
        call(empty, "delete_for_runs", [RUNS[n] for n in runs])
    assert (empty.rows("1"), empty.rows("other")) == before


@pytest.mark.parametrize("runs", [[4], [3, 4], [2, 3, 4], [4, 1, 3, 2]])
def test_with_all_runs_after_it_a_run_that_is_needed_can_go(runs: list[int], empty: Threads) -> None:
    saver = empty.ours
    heads = [head(do(saver, "delta 100", n)) for n in (1, 2, 3, 4)]
    saver.delete_for_runs([RUNS[n] for n in runs])
    expected = heads[3 - len(runs)].values if len(runs) < 4 else {}
    found = head(do(empty.official, "delta 100")).values
    assert {key: value for key, value in found.items() if value} == {k: v for k, v in expected.items() if v}


def test_a_run_that_the_memory_of_a_subgraph_needs_is_refused(empty: Threads) -> None:
    saver = empty.ours
    do(saver, "memory", 1, 2)
    before = empty.rows("1")
    with pytest.raises(HistoryNeeded):
        saver.delete_for_runs([RUNS[1]])
    assert empty.rows("1") == before
    saver.delete_for_runs([RUNS[2]])
    assert empty.rows("1").sizes == {"": 4, "memory": 5, "memory|call:": 3}


def test_a_branch_that_needs_a_run_is_enough_to_refuse_it(empty: Threads) -> None:
    saver = empty.ours
    graph = do(saver, "delta 100", 1)
    old = graph.get_state(thread("1")).config
    do(saver, "delta 100", 2)
    fork: Any = {"configurable": old["configurable"], "metadata": {"run_id": RUNS[3]}}
    graph.invoke(given("delta 100", 3), fork)
    with pytest.raises(HistoryNeeded):
        saver.delete_for_runs([RUNS[1]])
    saver.delete_for_runs([RUNS[2]])
    saver.delete_for_runs([RUNS[3]])
    assert head(graph).config == old


def test_several_threads_lose_a_run_and_the_others_nothing(empty: Threads) -> None:
    saver = empty.ours
    for name in ("a", "b", "c"):
        do(saver, "joined", 1, thread_id=name)
    before = [empty.rows(name) for name in ("a", "b", "c")]
    for name in ("a", "b"):
        do(saver, "joined", 2, thread_id=name)
    saver.delete_for_runs([RUNS[2]])
    assert [empty.rows(name) for name in ("a", "b", "c")] == before


def test_what_a_run_wrote_to_a_checkpoint_of_another_stays(empty: Threads) -> None:
    saver, executions = empty.ours, Executions()
    graph = asking(saver)
    graph.invoke({"log": []}, of_run(1))
    before = empty.rows("1")
    told = graph.invoke(Command(resume="yes"), of_run(2))
    saver.delete_for_runs([RUNS[2]])
    assert empty.rows("1").checkpoints == before.checkpoints
    assert len(empty.rows("1").writes) > len(before.writes)
    assert graph.invoke(None, of_run(3, callbacks=[executions])) == told  # from the answer that stayed
    assert executions.counts == {"ship": 1}


@pytest.mark.parametrize("call", CALLS)
def test_run_ids_may_be_uuids_and_come_twice_or_not_exist(call: Any, empty: Threads) -> None:
    saver = empty.ours
    do(saver, "joined", 1)
    before = empty.rows("1")
    do(saver, "joined", 2, 3)
    call(empty, "delete_for_runs", [UUID(RUNS[3]), RUNS[3], "not there", "", RUNS[2]])
    assert empty.rows("1") == before


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("run_ids", [[], [""], ["not there"], ["%"], ["null"], [RUNS[1][:-1]]])
def test_runs_that_do_not_exist_delete_nothing(run_ids: list[str], call: Any, empty: Threads) -> None:
    saver = empty.ours
    do(saver, "joined", 1)
    GRAPHS["joined"](saver).invoke(given("joined", 0), thread("no run"))
    before = empty.rows("1"), empty.rows("no run")
    call(empty, "delete_for_runs", run_ids)
    assert (empty.rows("1"), empty.rows("no run")) == before


@pytest.mark.parametrize("call", CALLS)
def test_one_text_is_no_list_of_runs(call: Any, empty: Threads) -> None:
    with pytest.raises(TypeError, match="list of run ids"):
        call(empty, "delete_for_runs", RUNS[1])


@pytest.mark.parametrize("call", CALLS)
def test_a_new_store_has_no_runs(call: Any, empty: Threads) -> None:
    call(empty, "delete_for_runs", [RUNS[1]])
    assert empty.execute(COUNT) == [(0,)]


@pytest.mark.parametrize("run_id", ["", "é'\"\\%_\n", "%s", "x" * 5000, "\U0001f600", "null", "1", "[]"])
def test_a_run_id_may_be_any_text(run_id: str, empty: Threads) -> None:
    saver = empty.ours
    for n, id in enumerate((run_id, run_id + "x")):
        put(saver, str(n), {"run_id": id})
    saver.delete_for_runs([run_id])
    assert [row[1] for row in empty.rows("1").checkpoints] == ["1"]


# Stores of any size and content.


def put(saver: Any, id: str, metadata: Any, parent: str | None = None) -> None:
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": parent}}
    stored = saver.put(config, {**empty_checkpoint(), "id": id}, metadata, {})
    saver.put_writes(stored, [("log", id)], "task")


def fill(threads: Threads, count: int) -> None:
    """Store checkpoints of three runs by turns, each with a write."""
    with closing(sqlite3.connect(threads.place)) as conn, conn:
        checkpoint = [(f"{n:06}", f'{{"run_id": "{RUNS[n % 3]}"}}') for n in range(count)]
        insert = "INSERT INTO checkpoints VALUES ('1', '', ?, NULL, 'msgpack', x'80', ?)"
        conn.executemany(insert, checkpoint)
        insert = "INSERT INTO writes VALUES ('1', '', ?, 'task', '', 0, 'log', 'null', '')"
        conn.executemany(insert, [row[:1] for row in checkpoint])


@IN_SQLITE
@pytest.mark.parametrize("call", CALLS)
def test_more_than_a_page_of_checkpoints_is_searched(call: Any, empty: Threads) -> None:
    fill(empty, 2 * PAGE + 2001)
    empty.execute("DELETE FROM checkpoints WHERE rowid BETWEEN 3000 AND 8000")  # a gap wider than a page
    expected = empty.execute(f"{COUNT} WHERE metadata NOT LIKE '%{RUNS[1]}%'")
    call(empty, "delete_for_runs", [RUNS[1]])
    assert empty.execute(COUNT) == expected
    assert empty.execute(f"{COUNT} WHERE metadata LIKE '%{RUNS[1]}%'") == [(0,)]
    sql = "SELECT count(*) FROM writes JOIN checkpoints USING (thread_id, checkpoint_ns, checkpoint_id)"
    assert empty.execute(sql) == expected


def check_that_metadata_may_be(metadata: Any, threads: Threads) -> None:
    put(threads.ours, "a", {})
    put(threads.ours, "b", {"run_id": RUNS[1]})
    threads.execute("UPDATE checkpoints SET metadata = ? WHERE checkpoint_id = 'a'", metadata)
    threads.ours.delete_for_runs([RUNS[1], "{", "text", "null"])
    assert [row[1] for row in threads.rows("1").checkpoints] == ["a"]


@pytest.mark.parametrize(
    "metadata", ["[]", "7", "null", '"text"', '{"run_id": 7}', "[[[[]]]]", '{"run_id": {}}']
)
def test_metadata_that_names_no_run_is_passed_over(metadata: str, empty: Threads) -> None:
    check_that_metadata_may_be(metadata, empty)


@IN_SQLITE
@pytest.mark.parametrize("metadata", [None, "", "{", b"\xff", "[[[["])
def test_in_sqlite_metadata_may_be_no_json(metadata: Any, empty: Threads) -> None:
    check_that_metadata_may_be(metadata, empty)


@IN_SQLITE
def test_what_a_run_stores_between_search_and_deletion_goes_too(empty: Threads) -> None:
    saver = empty.ours
    for n in range(4):
        put(saver, str(n), {"run_id": RUNS[n % 2]})
    search = RunSearch(SqliteTables(saver.serde), [RUNS[1]])
    while not search.ended:
        run(saver.conn, search.page())
    put(saver, "later", {"run_id": RUNS[1]})
    put(saver, "later too", {"run_id": RUNS[0]}, parent="later")
    put(saver, "3", {"run_id": RUNS[2]})  # it was found, and is another run's now
    saver.delete_thread("not there")
    with transaction(saver.conn):
        run(saver.conn, search.delete())
    assert [row[1:3] for row in empty.rows("1").checkpoints] == [
        ("0", None),
        ("2", None),
        ("3", None),
        ("later too", None),
    ]
    assert [row[1] for row in empty.rows("1").writes] == ["0", "2", "3", "later too"]


@pytest.mark.parametrize("call", CALLS)
def test_a_deletion_that_fails_leaves_all_runs_whole(call: Any, empty: Threads) -> None:
    saver = empty.ours
    for name in ("a", "b", "c"):
        do(saver, "joined", 1, 2, thread_id=name)
    empty.backend.fail(empty.place, "BEFORE DELETE", "checkpoints", "OLD.thread_id = 'c'", "stuck")
    before = [empty.rows(name) for name in ("a", "b", "c")]
    with pytest.raises(FAILURE, match="stuck"):
        call(empty, "delete_for_runs", [RUNS[1], RUNS[2]])
    assert [empty.rows(name) for name in ("a", "b", "c")] == before


@pytest.mark.parametrize(("backend", "kind"), EACH_KIND, indirect=["backend"])
async def test_a_refused_deletion_does_not_fail_what_is_written_beside_it(
    backend: Backend, kind: str, empty: Threads
) -> None:
    do(empty.ours, "delta 100", 1, 2)
    new: Any = {"configurable": {"thread_id": "new", "checkpoint_ns": ""}}
    async with backend.aopen(empty.place, backend.ours.aio, kind) as saver:

        async def write() -> None:
            for _ in range(20):
                await saver.aput(new, empty_checkpoint(), {}, {})

        deletions = [saver.adelete_for_runs([RUNS[1]]) for _ in range(10)]
        results = await asyncio.gather(*deletions, write(), write(), return_exceptions=True)
    assert [type(result) for result in results] == [HistoryNeeded] * 10 + [type(None)] * 2
    assert empty.execute(f"{COUNT} WHERE thread_id = 'new'") == [(40,)]


def test_a_run_that_a_delta_channel_needs_is_refused_after_a_run_of_a_graph_without_it(
    empty: Threads,
) -> None:
    saver = empty.ours
    delta(100)(saver).invoke({"n": 0, "log": ["began"]}, thread("1", metadata={"run_id": "1"}))
    counting(saver).invoke({"n": 5}, thread("1", metadata={"run_id": "2"}))
    before = empty.rows("1")
    with pytest.raises(HistoryNeeded):
        saver.delete_for_runs(["1"])
    assert empty.rows("1") == before


@IN_SQLITE
@pytest.mark.parametrize("score", [float("nan"), float("-inf"), 1.5])
def test_metadata_with_any_number_names_its_run(empty: Threads, score: float) -> None:
    saver = empty.ours
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    saver.put(config, empty_checkpoint(), {"run_id": "other", "score": score}, {})  # type: ignore[typeddict-unknown-key]
    saver.put(config, empty_checkpoint(), {"run_id": "1", "score": score}, {})  # type: ignore[typeddict-unknown-key]
    saver.delete_for_runs(["1"])
    assert len(empty.rows("1").checkpoints) == 1


def test_a_run_id_that_was_stored_as_a_number_is_found(empty: Threads) -> None:
    saver = empty.ours
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    saver.put(config, empty_checkpoint(), {"run_id": 7}, {})  # type: ignore[typeddict-item]
    saver.delete_for_runs(["7"])
    assert empty.rows("1") == NOTHING


@IN_SQLITE
def test_a_checkpoint_that_takes_the_place_of_a_deleted_one_is_found(empty: Threads) -> None:
    """SQLite gives the greatest rowid again when its row is deleted."""
    saver = empty.ours
    put(saver, "1", {"run_id": RUNS[0]})
    put(saver, "2", {"run_id": RUNS[1]})
    search = RunSearch(SqliteTables(saver.serde), [RUNS[0]])
    while not search.ended:
        run(saver.conn, search.page())
    empty.execute("DELETE FROM checkpoints WHERE checkpoint_id = '2'")
    put(saver, "3", {"run_id": RUNS[0]})
    with transaction(saver.conn):
        run(saver.conn, search.delete())
    assert empty.rows("1").checkpoints == []


def test_no_run_at_all_deletes_nothing(empty: Threads) -> None:
    saver = empty.ours
    put(saver, "1", {"run_id": None})
    saver.delete_for_runs([None])  # type: ignore[list-item]
    assert len(empty.rows("1").checkpoints) == 1
