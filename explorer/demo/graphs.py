"""The demo's graphs for replays: the same agents, with a model that knows a shop's few answers by rule.

A script belongs to one conversation; what is replayed may take another turn.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from explorer.demo.agents import research_agent, support_graph
from explorer.demo.script import call, say, tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

WORD_SECONDS = 0.04  # as fast as a model speaks
AMOUNT = re.compile(r"\d+\.\d\d")
ORDER = re.compile(r"\b1\d{3}\b")


class RuleModel(BaseChatModel):
    """Answers what a customer of the demo may ask, a word at a time."""

    @property
    def _llm_type(self) -> str:
        return "rules"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=_line(messages))])

    def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        line = _line(messages)
        for word in re.findall(r"\S+\s*", str(line.content)):
            time.sleep(WORD_SECONDS)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        for number, each in enumerate(line.tool_calls):
            piece = tool_call_chunk(
                name=each["name"], args=json.dumps(each["args"]), id=each["id"], index=number
            )
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[piece]))


def _line(messages: list[BaseMessage]) -> AIMessage:
    """Return what is said next: from the last question on, each tool once."""
    asked = max((at for at, each in enumerate(messages) if each.type == "human"), default=0)
    question, since = str(messages[asked].content), messages[asked + 1 :]
    used = {each.name for each in since if isinstance(each, ToolMessage)}
    amount, order = AMOUNT.search(question), ORDER.search(question)
    id = order[0] if order else "1042"
    number = sum(len(each.tool_calls) for each in messages if isinstance(each, AIMessage)) + 1
    if amount and "lookup_order" not in used:
        return call(
            tool("lookup_order", f"call_{number}", order_id=id), tool("refund_policy", f"call_{number + 1}")
        )
    if amount and "issue_refund" not in used:
        refund = tool("issue_refund", f"call_{number}", order_id=id, amount=amount[0])
        return call(refund, text="That is within our policy.")
    if "card" in question and "charge_card" not in used:
        return call(tool("charge_card", f"call_{number}", order_id=id), text="I try the card once more.")
    if amount:
        return say("You will hear from your bank within three days. Is there anything else?")
    return say(f"You have asked: {question[:80]} A colleague will answer you by tomorrow.")


support = support_graph(RuleModel()).compile(name="support")
research = research_agent(None)
