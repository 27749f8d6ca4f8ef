"""What LangGraph's own serializer reads, read faster: messages are built without detours.

Reading a state is for the most part building its messages. One costs LangGraph's serializer 6 µs, of which
the message's validator takes 2; the rest is importing the class again and passing its fields through four
constructors, which leave them as they are.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

if TYPE_CHECKING:
    from collections.abc import Callable

    from langgraph.checkpoint.serde.base import SerializerProtocol

OPTION = ormsgpack.OPT_NON_STR_KEYS
PYDANTIC_V2 = 5  # the extension code of [module, class, fields, method]
# Their constructors only pass on what they get, unless it names one of their own parameters.
# Every allowlist has these classes.
MODULES = {
    "HumanMessage": "langchain_core.messages.human",
    "AIMessage": "langchain_core.messages.ai",
    "SystemMessage": "langchain_core.messages.system",
    "ToolMessage": "langchain_core.messages.tool",
}
BEGINNINGS = tuple(
    b"\x94" + ormsgpack.packb(module) + ormsgpack.packb(name) for name, module in MODULES.items()
)

LOADS_TYPED = JsonPlusSerializer.loads_typed


def loads_of(serde: SerializerProtocol) -> Callable[[tuple[str, bytes]], Any]:
    """Return a function that loads what `serde.loads_typed` does: equal objects, none of them shared.

    Only LangGraph's serializer itself, with its own way to build objects, is known well enough to do better.
    """
    if not is_official(serde):
        return serde.loads_typed
    revive: Callable[[int, bytes], Any] = serde._unpack_ext_hook  # type: ignore[attr-defined]

    def build(code: int, data: bytes) -> Any:
        if code == PYDANTIC_V2 and data.startswith(BEGINNINGS):
            try:
                return _message(*ormsgpack.unpackb(data, ext_hook=build, option=OPTION))
            except (ValueError, TypeError, LookupError, AttributeError):  # an odd one: it knows what to do
                pass
        return revive(code, data)

    def loads(stored: tuple[str, bytes]) -> Any:
        if stored[0] == "msgpack":
            return ormsgpack.unpackb(stored[1], ext_hook=build, option=OPTION)
        return serde.loads_typed(stored)

    return loads


def _message(_module: str, name: str, fields: dict[str, Any], _method: str) -> Any:
    if "content_blocks" in fields or "self" in fields:
        raise LookupError
    cls = getattr(sys.modules[MODULES[name]], name)
    return cls.__pydantic_validator__.validate_python(fields, self_instance=cls.__new__(cls))


def is_official(serde: SerializerProtocol) -> bool:
    """Whether it is LangGraph's own, with nothing changed: no subclass, no hook, no patch."""
    return (
        serde.__class__ is JsonPlusSerializer
        and JsonPlusSerializer.loads_typed is LOADS_TYPED
        and "loads_typed" not in vars(serde)
        and getattr(serde, "_custom_unpack_ext_hook", True) is False
        and hasattr(serde, "_unpack_ext_hook")
    )
