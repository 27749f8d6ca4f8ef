"""The threads of the demo store, written one after the other."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from explorer.demo.agents import (
    Customer,
    Finding,
    PaymentUnavailable,
    Plan,
    Refund,
    research_agent,
    support_agent,
)
from explorer.demo.script import call, say, tool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from langchain_core.messages import AIMessage
    from langchain_core.runnables import RunnableConfig
    from langgraph.graph.state import CompiledStateGraph

OWN_TYPES = (Customer, Plan, Refund, Finding)
LOOKUP = tool("lookup_order", "call_1", order_id="1043")


def write(path: Path) -> int:
    """Write the store to a file that is not there yet and return its number of threads."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    with closing(sqlite3.connect(unfinished, check_same_thread=False)) as conn:
        saver = SqliteSaver(conn, serde=JsonPlusSerializer(allowed_msgpack_modules=OWN_TYPES))
        _write_threads(saver)
        (threads,) = conn.execute("SELECT count(DISTINCT thread_id) FROM checkpoints").fetchone()
    os.replace(unfinished, path)
    return int(threads)


def _write_threads(saver: SqliteSaver) -> None:
    for write_some in (small_talk, refunds, branches, failures, research, oddities, long_conversation):
        write_some(saver)


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of the support agent and the lines its model will speak."""

    saver: SqliteSaver
    id: str
    user: str
    script: tuple[AIMessage, ...]
    customer: Customer | None = None

    @property
    def config(self) -> RunnableConfig:
        return _config(self.id, self.user)

    def agent(self, *script: AIMessage, **options: Any) -> CompiledStateGraph[Any, Any, Any, Any]:
        return support_agent(list(script or self.script), self.saver, **options)

    def hear(self, text: str) -> None:
        """Run the agent on a message of the customer."""
        given: dict[str, Any] = {"messages": [("user", text)]}
        if self.customer:
            given["customer"] = self.customer
        self.agent().invoke(given, self.config)

    def answer(self, value: str) -> None:
        """Answer the interrupt that the thread waits at."""
        self.agent().invoke(Command(resume=value), self.config)


def _config(thread_id: str, user: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id}, "metadata": {"user_id": user, "tenant": "kettle-shop"}}


def small_talk(saver: SqliteSaver) -> None:
    """Short threads of several customers."""
    for id, user, question, answer in SHORT:
        Thread(saver, id, user, (say(answer),)).hear(question)
    parallel = Thread(
        saver,
        "order-1051",
        "grace",
        (
            call(
                tool("lookup_order", "call_1", order_id="1051"),
                tool("check_stock", "call_2", sku="KETTLE-17"),
                tool("refund_policy", "call_3"),
                text="Let me look at all of that at once.",
            ),
            say("It was delivered, we have 27 in stock, and you have thirty days to return it."),
        ),
    )
    parallel.hear("Where is my order, is the kettle still in stock, and may I send it back?")


def refunds(saver: SqliteSaver) -> None:
    """Refunds: a small one, one that waits for approval, one approved, one rejected, one at a breakpoint."""
    alice = Customer("Alice Martin", "alice@example.com", Plan.PLUS, tags=frozenset({"vip", "eu"}))
    _refund(saver, "refund-1042", "alice", "40.00", alice)
    _refund(saver, "refund-1043", "bob", "249.00", Customer("Bob Okafor", "bob@example.com"))
    _refund(saver, "refund-1044", "carol", "180.00").answer("approve")
    _refund(saver, "refund-1045", "dave", "3999.00").answer("reject")
    stopped = Thread(saver, "refund-1046", "alice", _refund_script("1046", "15.00"), alice)
    given = {"messages": [("user", "I was charged twice.")], "customer": alice}
    stopped.agent(interrupt_before=["tools"]).invoke(given, stopped.config)


def branches(saver: SqliteSaver) -> None:
    """An answer corrected by hand and continued, and a step copied to try it again."""
    edited = _refund(saver, "refund-1047", "erin", "60.00")
    asked = next(at for at in edited.agent().get_state_history(edited.config) if at.next == ("tools",))
    smaller = call(tool("issue_refund", "call_2", order_id="1047", amount="45.00"))
    smaller.id = asked.values["messages"][-1].id
    fork = edited.agent().update_state(asked.config, {"messages": [smaller]})
    edited.agent().invoke(None, fork)
    copied = _refund(saver, "refund-1048", "erin", "80.00")
    first = next(at for at in copied.agent().get_state_history(copied.config) if at.next == ("agent",))
    again = copied.agent().update_state(first.config, None, as_node="__copy__")
    copied.agent(*_refund_script("1048", "75.00")).invoke(None, again)


def failures(saver: SqliteSaver) -> None:
    """A tool that fails, and one that failed before the run went on by hand."""
    script = (call(tool("charge_card", "call_1", order_id="1049")), say("Your card was charged."))
    failed = Thread(saver, "payment-1049", "frank", script)
    helped = Thread(saver, "payment-1050", "grace", script)
    for thread in (failed, helped):
        with suppress(PaymentUnavailable):
            thread.hear("Please try my card again.")
    result = {"messages": [{"role": "tool", "content": "Charged by phone.", "tool_call_id": "call_1"}]}
    helped.agent().update_state(helped.config, result, as_node="tools")
    helped.agent().invoke(None, helped.config)


def research(saver: SqliteSaver) -> None:
    """Research in a subgraph that fans out: finished, waiting inside the subgraph, and answered there."""
    topics = ["kettle recalls", "battery fires", "lid hinges", "descaling"]
    agent = research_agent(saver)
    for id, user, reviewed in REPORTS:
        given = {"question": " What do customers complain about? ", "topics": topics, "reviewed": reviewed}
        agent.invoke(given, _config(id, user))
    agent.invoke(Command(resume="publish"), _config("report-lids", "bob"))


def oddities(saver: SqliteSaver) -> None:
    """Text that a careless page would break on, ids with every kind of sign, and one big value."""
    for id, user, question, answer in ODD:
        Thread(saver, id, user, (say(answer),)).hear(question)
    script = (call(tool("read_transcript", "call_1", order_id="1052")), say("The lid was loose."))
    Thread(saver, "transcript-1052", "ivan", script).hear("Read our whole chat and tell me what was wrong.")


def long_conversation(saver: SqliteSaver) -> None:
    """A customer who keeps asking: sixty steps and more."""
    lines: list[AIMessage] = []
    for number in range(12):
        lines.append(call(tool("lookup_order", f"call_{number}", order_id=str(2000 + number))))
        lines.append(say(f"Order {2000 + number} was delivered as well."))
    thread = Thread(saver, "long-conversation", "judy", tuple(lines))
    for number in range(12):
        thread.hear(f"And what about order {2000 + number}?")


def _refund(saver: SqliteSaver, id: str, user: str, amount: str, customer: Customer | None = None) -> Thread:
    thread = Thread(saver, id, user, _refund_script(id.removeprefix("refund-"), amount), customer)
    thread.hear(f"My kettle leaks. I want my {amount} back.")
    return thread


def _refund_script(order_id: str, amount: str) -> tuple[AIMessage, ...]:
    return (
        call(tool("lookup_order", "call_1", order_id=order_id), tool("refund_policy", "call_0")),
        call(
            tool("issue_refund", "call_2", order_id=order_id, amount=amount),
            text="That is within our policy.",
        ),
        say(f"About order {order_id}: you will hear from your bank within three days."),
    )


SHORT: Iterable[tuple[str, str, str, str]] = (
    ("hello-alice", "alice", "Hello?", "Hello Alice, how can I help?"),
    ("8f0e2a54-6f0d-4c0b-9a35-3d1b5b7f2d11", "bob", "When do you open?", "At nine, every day but Sunday."),
    (
        "d2719f4e-52b1-4d2b-8a6e-0c9b7a1e44f0",
        "carol",
        "Is the kettle dishwasher safe?",
        "Please wash it by hand.",
    ),
    ("support:carol:2", "carol", "And the lid?", "The lid too, I am afraid."),
)

REPORTS = (("report-q3", "heidi", True), ("report-q4", "heidi", False), ("report-lids", "bob", False))

ODD: Iterable[tuple[str, str, str, str]] = (
    (
        "acme/eu/ticket 77?#x",
        "mallory",
        '<script>alert("hi")</script><img src=x onerror=alert(1)> does not work',
        'Thanks for <b>bold</b> words & an "ampersand". {{ 7 * 7 }} stays what it is.',
    ),
    ("שיחה-12", "noa", "שלום, מתי המשלוח מגיע? Order #1053 🚚", "המשלוח יגיע מחר 🎉"),
    (
        "東京-サポート",
        "yuki",
        "やかんの蓋が壊れました。👩‍👩‍👧‍👦",
        "申し訳ありません。\n\n\tすぐに交換いたします。",
    ),
)
