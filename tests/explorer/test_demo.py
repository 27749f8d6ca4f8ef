"""The demo store: it is LangGraph's own, and shows what the explorer is for."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from explorer.demo import store as demo
from explorer.demo.agents import Customer, research_agent, support_agent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from langgraph.types import StateSnapshot


@pytest.fixture
def saver(demo_store: Path) -> Iterator[SqliteSaver]:
    # immutable: mode=ro would leave a -wal and a -shm beside the file
    with closing(
        sqlite3.connect(f"file:{demo_store}?immutable=1", uri=True, check_same_thread=False)
    ) as conn:
        saver = SqliteSaver(conn, serde=JsonPlusSerializer(allowed_msgpack_modules=demo.OWN_TYPES))
        saver.is_setup = True
        yield saver


def _state(saver: SqliteSaver, thread: str, **options: Any) -> StateSnapshot:
    return support_agent([], saver).get_state({"configurable": {"thread_id": thread}}, **options)


def test_a_refund_waits_for_approval(saver: SqliteSaver) -> None:
    (question,) = _state(saver, "refund-1043").interrupts
    assert question.value["question"] == "Refund 249.00 for order 1043?"


@pytest.mark.parametrize(("thread", "refunds"), [("refund-1044", 1), ("refund-1045", 0)])
def test_interrupts_were_answered_either_way(saver: SqliteSaver, thread: str, refunds: int) -> None:
    state = _state(saver, thread)
    assert (state.next, len(state.values.get("refunds", []))) == ((), refunds)


def test_own_types_come_back(saver: SqliteSaver) -> None:
    assert isinstance(_state(saver, "refund-1042").values["customer"], Customer)


def test_a_task_failed(saver: SqliteSaver) -> None:
    state = _state(saver, "payment-1049")
    assert state.next == ("tools",)
    assert "PaymentUnavailable" in str(state.tasks[0].error)


def test_tools_were_called_in_parallel(saver: SqliteSaver) -> None:
    messages = _state(saver, "order-1051").values["messages"]
    assert max(len(getattr(message, "tool_calls", [])) for message in messages) == 3


@pytest.mark.parametrize(("thread", "source"), [("refund-1047", "update"), ("refund-1048", "fork")])
def test_a_fork_keeps_both_branches(saver: SqliteSaver, thread: str, source: str) -> None:
    found = list(saver.list({"configurable": {"thread_id": thread}}))
    parents = [at.parent_config["configurable"]["checkpoint_id"] for at in found if at.parent_config]
    assert source in {at.metadata["source"] for at in found}
    assert len(set(parents)) < len(parents)


def test_a_subgraph_waits_inside(saver: SqliteSaver) -> None:
    state = research_agent(saver).get_state({"configurable": {"thread_id": "report-q4"}}, subgraphs=True)
    inner = state.tasks[0].state
    assert inner.next == ("review",)  # type: ignore[union-attr]
    assert len(inner.values["findings"]) == 4  # type: ignore[union-attr]


def test_one_conversation_is_long(saver: SqliteSaver) -> None:
    assert len(list(saver.list({"configurable": {"thread_id": "long-conversation"}}))) >= 60


def test_the_file_is_left_closed_and_alone(demo_store: Path) -> None:
    assert [path.name for path in demo_store.parent.iterdir()] == ["demo.sqlite"]


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "mine.sqlite"
    path.write_text("mine")
    with pytest.raises(CommandError, match="overwrites nothing"):
        call_command("demo", str(path))
    assert path.read_text() == "mine"
