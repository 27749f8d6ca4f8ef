"""What is derived from a store agrees with what LangGraph says of the same checkpoints."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import graphs
import pytest
from graphs import Written
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver

from checkpoints.channels import is_control
from checkpoints.inert import InertSerializer
from checkpoints.snapshot import PendingWrite, Snapshot, id_time, parsed_time
from checkpoints.status import Status, status
from checkpoints.stores.records import CheckpointRow, WriteRow
from checkpoints.tasks import next_nodes, node_of_path, pending_sends, tasks, wrote

if TYPE_CHECKING:
    from pathlib import Path

SERDE = InertSerializer()


def decoded(written: Written, thread: str, id: str) -> tuple[Snapshot, list[PendingWrite]]:
    with closing(sqlite3.connect(written.path)) as db:
        key = (thread, "", id)
        where = "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
        columns = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
        row = db.execute(f"SELECT {columns} FROM checkpoints {where}", key).fetchone()
        columns = "checkpoint_id, task_id, task_path, idx, channel, type, value"
        writes = db.execute(f"SELECT {columns} FROM writes {where} ORDER BY task_path, task_id, idx", key)
        return (
            Snapshot(CheckpointRow(*row, size=len(row[5])), SERDE),
            [PendingWrite(WriteRow(*write, size=0), SERDE) for write in writes],
        )


def id_of(state: Any) -> str:
    return state.config["configurable"]["checkpoint_id"]


def test_next_nodes_are_those_langgraph_plans(written: Written) -> None:
    for thread, state in written.states:
        at, writes = decoded(written, thread, id_of(state))
        sends = pending_sends(at)
        planned = [task.name for task in state.tasks]
        derived = next_nodes(
            at, sends, tasks(writes, sends), {"flow": {"__start__"}} if thread == "functional" else None
        )
        assert sorted(derived) == sorted(planned), (thread, state.metadata)


def test_interrupts_and_errors_are_those_langgraph_reports(written: Written) -> None:
    for thread, state in written.states:
        at, writes = decoded(written, thread, id_of(state))
        ran = {task.id: task for task in tasks(writes, pending_sends(at))}
        for planned in state.tasks:
            task = ran.get(planned.id)
            found = [question.id for question in task.interrupts] if task else []
            assert found == [question.id for question in planned.interrupts]
            assert (task.error if task else None) == (
                repr(planned.error) if isinstance(planned.error, Exception) else planned.error
            )
            assert task is None or task.node in {planned.name, None}


@pytest.mark.parametrize(
    ("thread", "expected"),
    [
        ("chat", Status.IDLE),
        ("asking", Status.INTERRUPTED),
        ("resumed", Status.IDLE),
        ("failing", Status.ERROR),
        ("fan-out", Status.INTERRUPTED),
        ("functional", Status.INTERRUPTED),
        ("nested", Status.INTERRUPTED),
        ("forked", Status.PENDING),
    ],
)
def test_the_status_of_a_thread_is_that_of_its_head(written: Written, thread: str, expected: Status) -> None:
    head = next(id_of(state) for name, state in written.states if name == thread)
    at, writes = decoded(written, thread, head)
    sends = pending_sends(at)
    ran = tasks(writes, sends)
    assert status(at, ran, next_nodes(at, sends, ran)) is expected


def test_a_thread_at_a_breakpoint_is_pending(tmp_path: Path) -> None:
    with OfficialSaver.from_conn_string(str(tmp_path / "stop.sqlite")) as saver:
        graph = graphs.joining(saver)
        graph.invoke({"log": []}, graphs.config("stop"), interrupt_before=["join"])
        head = id_of(graph.get_state(graphs.config("stop")))
    at, writes = decoded(Written(tmp_path / "stop.sqlite", {}, []), "stop", head)
    assert next_nodes(at) == ("join",)
    assert status(at, tasks(writes), next_nodes(at)) is Status.PENDING


def test_the_nodes_that_wrote_a_step_are_those_that_were_next_before_it(written: Written) -> None:
    by_id = {id_of(state): (thread, state) for thread, state in written.states}
    checked = 0
    for thread, state in by_id.values():
        if state.metadata["source"] != "loop" or state.parent_config is None:
            continue
        parent, parent_writes = decoded(written, thread, state.parent_config["configurable"]["checkpoint_id"])
        at, _ = decoded(written, thread, id_of(state))
        ran = tasks(parent_writes, pending_sends(parent))
        before = {task.name for task in by_id[parent.id][1].tasks}
        assert set(wrote(at, parent, ran)) == before
        checked += 1
    assert checked > 20


def test_a_checkpoint_id_tells_its_time(written: Written) -> None:
    for _, state in written.states:
        told, stored = id_time(id_of(state)), parsed_time(state.created_at)
        assert told is not None
        assert stored is not None
        assert abs((told - stored).total_seconds()) < 1


@pytest.mark.parametrize("id", ["", "no-uuid", "12345678-1234-4234-8234-123456789abc"])
def test_an_id_that_is_no_version_6_uuid_tells_no_time(id: str) -> None:
    assert id_time(id) is None


@pytest.mark.parametrize(
    ("path", "node"),
    [
        ("~__pregel_pull, ask, or tell", "ask, or tell"),
        ("~__pregel_push, 0000000001, 0000000000", "second"),
        ("~__pregel_push, 0000000009, 0000000000", None),
        ("~__pregel_push, ~__pregel_pull, flow, 0000000000, 0000000001", "flow › task 1"),
        ("", None),
        ("hostile <b>", None),
    ],
)
def test_a_task_path_names_its_node(path: str, node: str | None) -> None:
    assert node_of_path(path, ("first", "second")) == node


def test_a_key_of_the_state_may_have_the_name_of_a_node() -> None:
    assert not is_control("price", 420, {"price"})
    assert is_control("price", "price", {"price"})  # as before LangGraph 0.3
    assert is_control("price", None, {"price"})
