"""The graphs of the demo: a support agent with tools, and a research agent with a subgraph."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Send, interrupt
from pydantic import BaseModel

from explorer.demo.script import ScriptedModel

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

APPROVAL_FROM = Decimal(100)


class Plan(StrEnum):
    FREE = "free"
    PLUS = "plus"


@dataclass(frozen=True)
class Customer:
    """Who asks."""

    name: str
    email: str
    plan: Plan = Plan.FREE
    since: datetime = datetime(2024, 3, 1, tzinfo=UTC)
    tags: frozenset[str] = field(default_factory=frozenset)


class Refund(BaseModel):
    """Money on its way back."""

    order_id: str
    amount: Decimal
    approved_by: str | None = None


class Finding(BaseModel):
    """What one search brought."""

    topic: str
    summary: str
    sources: list[str]


class Support(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    customer: Customer
    refunds: Annotated[list[Refund], operator.add]


class Research(TypedDict, total=False):
    question: str
    topics: list[str]
    findings: Annotated[list[Finding], operator.add]
    reviewed: bool
    report: str


class Search(TypedDict):
    topic: str


class PaymentUnavailable(RuntimeError):
    """The payment provider of the demo does not answer."""


@tool
def lookup_order(order_id: str) -> dict[str, Any]:
    """Look an order up."""
    return {"order_id": order_id, "status": "delivered", "items": [{"sku": "KETTLE-17", "price": "89.00"}]}


@tool
def check_stock(sku: str) -> int:
    """Count what is in stock."""
    return len(sku) * 3


@tool
def refund_policy() -> str:
    """Quote the refund policy."""
    return "Thirty days from delivery, unopened or faulty. Refunds of 100.00 and more need approval."


@tool
def issue_refund(order_id: str, amount: str) -> str:
    """Refund an order; from 100.00 on a human is asked first."""
    if Decimal(amount) < APPROVAL_FROM:
        return f"Refunded {amount} for order {order_id}."
    question = f"Refund {amount} for order {order_id}?"
    answer = interrupt({"question": question, "options": ["approve", "reject"]})
    return f"Refunded {amount} for order {order_id}." if answer == "approve" else "The refund was rejected."


@tool
def charge_card(order_id: str) -> str:
    """Charge the card of an order again."""
    raise PaymentUnavailable(f"payment provider timed out while charging order {order_id}")


@tool
def read_transcript(order_id: str) -> str:
    """Read the chat transcript of an order."""
    return "\n".join(f"line {number}: words about order {order_id}" for number in range(6000))


TOOLS = [lookup_order, check_stock, refund_policy, issue_refund, charge_card, read_transcript]


def support_agent(
    script: list[AIMessage], saver: BaseCheckpointSaver[Any], **options: Any
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Build the agent that answers customers with the lines of a script."""
    model = ScriptedModel(script=script)
    return support_graph(model).compile(checkpointer=saver, name="support", **options)


def support_graph(model: BaseChatModel) -> StateGraph[Any, Any, Any, Any]:
    """Lay out the agent that answers customers: a model, its tools, and a record of refunds."""
    graph = StateGraph(Support)
    graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode(TOOLS, handle_tool_errors=False))
    graph.add_node("record", _record)
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", _after_agent, ["tools", END])
    graph.add_edge("tools", "record")
    graph.add_edge("record", "agent")
    return graph


def _after_agent(state: Support) -> str:
    last = state["messages"][-1]
    return "tools" if isinstance(last, AIMessage) and last.tool_calls else END


def _record(state: Support) -> Support:
    """Keep a refund that a tool has just made as a value of its own."""
    answer, asked = state["messages"][-1], state["messages"][-2]
    if not (isinstance(asked, AIMessage) and str(answer.content).startswith("Refunded")):
        return {}
    args = asked.tool_calls[-1]["args"]
    return {"refunds": [Refund(order_id=args["order_id"], amount=Decimal(args["amount"]))]}


def research_agent(saver: BaseCheckpointSaver[Any] | None) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Build the agent whose research is a subgraph that searches in parallel."""
    graph = StateGraph(Research)
    graph.add_node("triage", lambda state: {"question": state["question"].strip()})
    graph.add_node("research", _research())
    graph.add_node("publish", lambda state: {"report": state["report"] + "\n\nPublished."})
    graph.add_edge(START, "triage")
    graph.add_edge("triage", "research")
    graph.add_edge("research", "publish")
    return graph.compile(checkpointer=saver, name="research")


def _research() -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = StateGraph(Research)
    graph.add_node("plan", lambda state: {})
    graph.add_node("search", _search)
    graph.add_node("review", _review)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", _fan_out, ["search"])
    graph.add_edge("search", "review")
    return graph.compile()


def _fan_out(state: Research) -> list[Send]:
    return [Send("search", {"topic": topic}) for topic in state["topics"]]


def _search(state: Search) -> Research:
    topic = state["topic"]
    sources = [f"https://example.org/{topic.replace(' ', '-')}/{number}" for number in (1, 2)]
    return {"findings": [Finding(topic=topic, summary=f"Two reports about {topic}.", sources=sources)]}


def _review(state: Research) -> Research:
    draft = "\n".join(f"- {finding.summary}" for finding in state["findings"])
    if (
        not state.get("reviewed")
        and interrupt({"question": "Publish this report?", "draft": draft}) != "publish"
    ):
        draft = "Withheld."
    return {"report": draft}
