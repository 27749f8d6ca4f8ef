"""Deleted runs: whose checkpoints go, what LangGraph sees then, and when deletion is refused."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from graphs import asking, chat, joining
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.types import Command, Overwrite
from saver_graphs import plain
from thread_graphs import (
    Executions,
    asynchronous,
    counting,
    delta,
    execute,
    remembering,
    rows,
    say,
    sync,
    thread,
    view,
)

from checkpoints.errors import HistoryNeeded
from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver
from checkpoints.sqlite.driver import run, transaction
from checkpoints.sqlite.runs import PAGE, RunSearch
from checkpoints.sqlite.tables import SqliteTables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    """An empty database, with its tables."""
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as conn:
        SqliteSaver(conn).setup()
        yield conn


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
def test_langgraph_stores_the_run_id_that_a_config_names(place: str, conn: sqlite3.Connection) -> None:
    config = thread("1")
    config.setdefault(place, {})["run_id"] = RUNS[1]
    remembering(SqliteSaver(conn)).invoke({"n": 1, "log": []}, config)
    assert rows(conn, "1").sizes == {"": 4, "memory": 5, "memory|call:": 3}
    SqliteSaver(conn).delete_for_runs([RUNS[1]])
    assert rows(conn, "1") == ([], [])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["agent", "joined", "memory"])
def test_without_its_last_run_a_thread_is_what_it_was_before(name: str, call: Any, tmp_path: Path) -> None:
    path = tmp_path / "store"
    with OfficialSaver.from_conn_string(str(path)) as saver:
        before = head(do(saver, name, 1)), rows(path, "1")
        assert head(do(saver, name, 2)) != before[0]
        call(path, "delete_for_runs", [RUNS[2]])
        assert (head(GRAPHS[name](saver)), rows(path, "1")) == before


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("opens", [SqliteSaver, OfficialSaver], ids=["ours", "official"])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_thread_without_its_last_run_goes_on_as_if_it_had_never_been(
    name: str, opens: Any, durability: str, conn: sqlite3.Connection
) -> None:
    saver = opens(conn)
    before = head(do(saver, name, 1))
    do(saver, name, 2, durability=durability)
    SqliteSaver(conn).delete_for_runs([RUNS[2]])
    assert head(do(saver, name)) == before
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as other:
        expected = head(do(OfficialSaver(other), name, 1, 3, 4))
    assert plain(head(do(saver, name, 3, 4)).values) == plain(expected.values)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["agent", "joined", "delta 1"])
def test_a_middle_run_goes_and_the_head_stays(name: str, call: Any, tmp_path: Path) -> None:
    """Nothing that stays names one of its checkpoints."""
    path = tmp_path / "store"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = do(saver, name, 1, 2, 3)
        if name == "delta 1":  # whole in its first checkpoint too: its input came from elsewhere
            graph.update_state(of_run(4), {"log": Overwrite(["anew"]), "rare": Overwrite([])}, as_node="ask")
        before, all_rows = head(graph), rows(path, "1")
        middle = [row[1] for row in all_rows.checkpoints if RUNS[2].encode() in row[5]]
        call(path, "delete_for_runs", [RUNS[2], *([RUNS[3]] if name == "delta 1" else [])])
        left = rows(path, "1")
        assert head(graph) == before
    assert not {row[1] for row in left.checkpoints} & set(middle)
    assert not {row[1] for row in left.writes} & set(middle)
    assert not {row[2] for row in left.checkpoints} & set(middle)
    ends = {row[2] for row in all_rows.checkpoints if RUNS[3].encode() in row[5]} & set(middle)
    assert len(ends) == 1


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("runs", [[1], [2], [1, 2], [1, 3], [2, 0]])
def test_a_run_that_a_delta_channel_needs_is_refused(runs: list[int], call: Any, tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        do(saver, "agent", 1, 2, 3, thread_id="other")
        do(saver, "delta 100", 1, 2, 3, 4)
    before = rows(path, "1"), rows(path, "other")
    with pytest.raises(HistoryNeeded, match="'1'"):
        call(path, "delete_for_runs", [RUNS[n] for n in runs])
    assert (rows(path, "1"), rows(path, "other")) == before


@pytest.mark.parametrize("runs", [[4], [3, 4], [2, 3, 4], [4, 1, 3, 2]])
def test_with_all_runs_after_it_a_run_that_is_needed_can_go(
    runs: list[int], conn: sqlite3.Connection
) -> None:
    saver = SqliteSaver(conn)
    heads = [head(do(saver, "delta 100", n)) for n in (1, 2, 3, 4)]
    saver.delete_for_runs([RUNS[n] for n in runs])
    expected = heads[3 - len(runs)].values if len(runs) < 4 else {}
    found = head(do(OfficialSaver(conn), "delta 100")).values
    assert {key: value for key, value in found.items() if value} == {k: v for k, v in expected.items() if v}


def test_a_run_that_the_memory_of_a_subgraph_needs_is_refused(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    do(saver, "memory", 1, 2)
    before = rows(conn, "1")
    with pytest.raises(HistoryNeeded):
        saver.delete_for_runs([RUNS[1]])
    assert rows(conn, "1") == before
    saver.delete_for_runs([RUNS[2]])
    assert rows(conn, "1").sizes == {"": 4, "memory": 5, "memory|call:": 3}


def test_a_branch_that_needs_a_run_is_enough_to_refuse_it(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
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


def test_several_threads_lose_a_run_and_the_others_nothing(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    for name in ("a", "b", "c"):
        do(saver, "joined", 1, thread_id=name)
    before = [rows(conn, name) for name in ("a", "b", "c")]
    for name in ("a", "b"):
        do(saver, "joined", 2, thread_id=name)
    saver.delete_for_runs([RUNS[2]])
    assert [rows(conn, name) for name in ("a", "b", "c")] == before


def test_what_a_run_wrote_to_a_checkpoint_of_another_stays(conn: sqlite3.Connection) -> None:
    saver, executions = SqliteSaver(conn), Executions()
    graph = asking(saver)
    graph.invoke({"log": []}, of_run(1))
    before = rows(conn, "1")
    told = graph.invoke(Command(resume="yes"), of_run(2))
    saver.delete_for_runs([RUNS[2]])
    assert rows(conn, "1").checkpoints == before.checkpoints
    assert len(rows(conn, "1").writes) > len(before.writes)
    assert graph.invoke(None, of_run(3, callbacks=[executions])) == told  # from the answer that stayed
    assert executions.counts == {"ship": 1}


@pytest.mark.parametrize("call", CALLS)
def test_run_ids_may_be_uuids_and_come_twice_or_not_exist(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        do(saver, "joined", 1)
        before = rows(path, "1")
        do(saver, "joined", 2, 3)
    call(path, "delete_for_runs", [UUID(RUNS[3]), RUNS[3], "not there", "", RUNS[2]])
    assert rows(path, "1") == before


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("run_ids", [[], [""], ["not there"], ["%"], ["null"], [RUNS[1][:-1]]])
def test_runs_that_do_not_exist_delete_nothing(run_ids: list[str], call: Any, tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        do(saver, "joined", 1)
        GRAPHS["joined"](saver).invoke(given("joined", 0), thread("no run"))
    before = rows(path, "1"), rows(path, "no run")
    call(path, "delete_for_runs", run_ids)
    assert (rows(path, "1"), rows(path, "no run")) == before


@pytest.mark.parametrize("call", CALLS)
def test_one_text_is_no_list_of_runs(call: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="list of run ids"):
        call(tmp_path / "store", "delete_for_runs", RUNS[1])


@pytest.mark.parametrize("call", CALLS)
def test_a_new_store_has_no_runs(call: Any, tmp_path: Path) -> None:
    call(tmp_path / "store", "delete_for_runs", [RUNS[1]])
    assert execute(tmp_path / "store", COUNT) == [(0,)]


@pytest.mark.parametrize("run_id", ["", "é'\"\\%_\n", "x" * 5000, "\U0001f600", "null", "1", "[]"])
def test_a_run_id_may_be_any_text(run_id: str, conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    for n, id in enumerate((run_id, run_id + "x")):
        put(saver, str(n), {"run_id": id})
    saver.delete_for_runs([run_id])
    assert [row[1] for row in rows(conn, "1").checkpoints] == ["1"]


# Stores of any size and content.


def put(saver: Any, id: str, metadata: Any, parent: str | None = None) -> None:
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": parent}}
    stored = saver.put(config, {**empty_checkpoint(), "id": id}, metadata, {})
    saver.put_writes(stored, [("log", id)], "task")


def fill(path: Path, count: int) -> None:
    """Store checkpoints of three runs by turns, each with a write."""
    with closing(sqlite3.connect(path)) as conn, conn:
        SqliteSaver(conn).setup()
        checkpoint = [(f"{n:06}", f'{{"run_id": "{RUNS[n % 3]}"}}') for n in range(count)]
        insert = "INSERT INTO checkpoints VALUES ('1', '', ?, NULL, 'msgpack', x'80', ?)"
        conn.executemany(insert, checkpoint)
        insert = "INSERT INTO writes VALUES ('1', '', ?, 'task', '', 0, 'log', 'null', '')"
        conn.executemany(insert, [row[:1] for row in checkpoint])


@pytest.mark.parametrize("call", CALLS)
def test_more_than_a_page_of_checkpoints_is_searched(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path, 2 * PAGE + 2001)
    execute(path, "DELETE FROM checkpoints WHERE rowid BETWEEN 3000 AND 8000")  # a gap wider than a page
    expected = execute(path, f"{COUNT} WHERE metadata NOT LIKE '%{RUNS[1]}%'")
    call(path, "delete_for_runs", [RUNS[1]])
    assert execute(path, COUNT) == expected
    assert execute(path, f"{COUNT} WHERE metadata LIKE '%{RUNS[1]}%'") == [(0,)]
    sql = "SELECT count(*) FROM writes JOIN checkpoints USING (thread_id, checkpoint_ns, checkpoint_id)"
    assert execute(path, sql) == expected


@pytest.mark.parametrize(
    "metadata", [None, "", "{", "[]", "7", "null", '"text"', b"\xff", '{"run_id": 7}', "[[[["]
)
def test_metadata_that_names_no_run_is_passed_over(metadata: Any, conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    put(saver, "a", {})
    put(saver, "b", {"run_id": RUNS[1]})
    execute(conn, "UPDATE checkpoints SET metadata = ? WHERE checkpoint_id = 'a'", metadata)
    saver.delete_for_runs([RUNS[1], "{", "text", "null"])
    assert [row[1] for row in rows(conn, "1").checkpoints] == ["a"]


def test_what_a_run_stores_between_search_and_deletion_goes_too(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    for n in range(4):
        put(saver, str(n), {"run_id": RUNS[n % 2]})
    search = RunSearch(SqliteTables(saver.serde), [RUNS[1]])
    while not search.ended:
        run(conn, search.page())
    put(saver, "later", {"run_id": RUNS[1]})
    put(saver, "later too", {"run_id": RUNS[0]}, parent="later")
    put(saver, "3", {"run_id": RUNS[2]})  # it was found, and is another run's now
    saver.delete_thread("not there")
    with transaction(conn):
        run(conn, search.delete())
    assert [row[1:3] for row in rows(conn, "1").checkpoints] == [
        ("0", None),
        ("2", None),
        ("3", None),
        ("later too", None),
    ]
    assert [row[1] for row in rows(conn, "1").writes] == ["0", "2", "3", "later too"]


@pytest.mark.parametrize("call", CALLS)
def test_a_deletion_that_fails_leaves_all_runs_whole(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "store"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        for name in ("a", "b", "c"):
            do(saver, "joined", 1, 2, thread_id=name)
    execute(
        path,
        """CREATE TRIGGER stuck BEFORE DELETE ON checkpoints WHEN OLD.thread_id = 'c'
        BEGIN SELECT RAISE(ABORT, 'stuck'); END""",
    )
    before = [rows(path, name) for name in ("a", "b", "c")]
    with pytest.raises(sqlite3.IntegrityError, match="stuck"):
        call(path, "delete_for_runs", [RUNS[1], RUNS[2]])
    assert [rows(path, name) for name in ("a", "b", "c")] == before


async def test_a_refused_deletion_does_not_fail_what_is_written_beside_it(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "store")) as saver:
        do(saver, "delta 100", 1, 2)
    new: Any = {"configurable": {"thread_id": "new", "checkpoint_ns": ""}}
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "store")) as asaver:

        async def write() -> None:
            for _ in range(20):
                await asaver.aput(new, empty_checkpoint(), {}, {})

        deletions = [asaver.adelete_for_runs([RUNS[1]]) for _ in range(10)]
        results = await asyncio.gather(*deletions, write(), write(), return_exceptions=True)
    assert [type(result) for result in results] == [HistoryNeeded] * 10 + [type(None)] * 2
    assert execute(tmp_path / "store", f"{COUNT} WHERE thread_id = 'new'") == [(40,)]


def test_a_run_that_a_delta_channel_needs_is_refused_after_a_run_of_a_graph_without_it(
    conn: sqlite3.Connection,
) -> None:
    saver = SqliteSaver(conn)
    delta(100)(saver).invoke({"n": 0, "log": ["began"]}, thread("1", metadata={"run_id": "1"}))
    counting(saver).invoke({"n": 5}, thread("1", metadata={"run_id": "2"}))
    before = rows(conn, "1")
    with pytest.raises(HistoryNeeded):
        saver.delete_for_runs(["1"])
    assert rows(conn, "1") == before


@pytest.mark.parametrize("score", [float("nan"), float("-inf"), 1.5])
def test_metadata_with_any_number_names_its_run(conn: sqlite3.Connection, score: float) -> None:
    saver = SqliteSaver(conn)
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    saver.put(config, empty_checkpoint(), {"run_id": "other", "score": score}, {})  # type: ignore[typeddict-unknown-key]
    saver.put(config, empty_checkpoint(), {"run_id": "1", "score": score}, {})  # type: ignore[typeddict-unknown-key]
    saver.delete_for_runs(["1"])
    assert len(rows(conn, "1").checkpoints) == 1


def test_a_run_id_that_was_stored_as_a_number_is_found(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    saver.put(config, empty_checkpoint(), {"run_id": 7}, {})  # type: ignore[typeddict-item]
    saver.delete_for_runs(["7"])
    assert rows(conn, "1") == ([], [])


def test_a_checkpoint_that_takes_the_place_of_a_deleted_one_is_found(conn: sqlite3.Connection) -> None:
    """SQLite gives the greatest rowid again when its row is deleted."""
    saver = SqliteSaver(conn)
    put(saver, "1", {"run_id": RUNS[0]})
    put(saver, "2", {"run_id": RUNS[1]})
    search = RunSearch(SqliteTables(saver.serde), [RUNS[0]])
    while not search.ended:
        run(conn, search.page())
    conn.execute("DELETE FROM checkpoints WHERE checkpoint_id = '2'")
    put(saver, "3", {"run_id": RUNS[0]})
    with transaction(conn):
        run(conn, search.delete())
    assert rows(conn, "1").checkpoints == []


def test_no_run_at_all_deletes_nothing(conn: sqlite3.Connection) -> None:
    saver = SqliteSaver(conn)
    put(saver, "1", {"run_id": None, "score": float("nan")})
    saver.delete_for_runs([None])  # type: ignore[list-item]
    assert len(rows(conn, "1").checkpoints) == 1
