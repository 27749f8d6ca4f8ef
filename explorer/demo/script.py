"""A chat model that replays a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


class ScriptedModel(BaseChatModel):
    """Answers a conversation with the line of the script that comes next in it.

    It keeps no position of its own: as many lines are spoken as the conversation has answers. So a resumed
    or replayed conversation goes on where it was.
    """

    script: list[AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        spoken = sum(isinstance(message, AIMessage) for message in messages)
        line = self.script[spoken].model_copy(deep=True)
        line.response_metadata = {"model_name": "scripted-1", "finish_reason": _reason(line)}
        line.usage_metadata = _usage(messages, line)
        return ChatResult(generations=[ChatGeneration(message=line)])


def say(text: str) -> AIMessage:
    """Return an answer in words."""
    return AIMessage(text)


def call(*calls: dict[str, Any], text: str = "") -> AIMessage:
    """Return an answer that calls tools, each `{"name": …, "args": …, "id": …}`."""
    return AIMessage(text, tool_calls=[{"type": "tool_call", **each} for each in calls])


def tool(name: str, id: str, /, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": id}


def _reason(line: AIMessage) -> str:
    return "tool_calls" if line.tool_calls else "stop"


def _usage(messages: list[BaseMessage], line: AIMessage) -> Any:
    read = sum(len(str(message.content)) for message in messages) // 4
    written = len(str(line.content)) // 4 + 12 * len(line.tool_calls)
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
