"""Channels: which hold the state of an application, and which are LangGraph's own."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container

ERROR = "__error__"
INTERRUPT = "__interrupt__"
RESUME = "__resume__"
SCHEDULED = "__scheduled__"
SENDS = "__pregel_tasks"
START = "__start__"
NULL_TASK = "00000000-0000-0000-0000-000000000000"  # writes what comes from outside: answers, updates
# `__end__`, `__previous__` and `__root__` are not among them: graphs without named keys keep their state ther
RESERVED = frozenset(
    {ERROR, INTERRUPT, RESUME, SCHEDULED, SENDS, START, "__input__", "__no_writes__", "__return__"}
)

_TO = re.compile(r"branch:to:(?P<node>[^:]+)(?::.*)?", re.DOTALL)
_FROM_START = re.compile(r"start:(?P<node>.+)", re.DOTALL)
_BRANCH = re.compile(r"branch:(?P<source>[^:]+):[^:]*:(?P<node>[^:]+)(?::.*)?", re.DOTALL)
_JOIN = re.compile(r"join:(?P<names>[^:]+):(?P<node>[^:]+)", re.DOTALL)


class Trigger(NamedTuple):
    """What a channel's name says: the node it triggers, and who must have come in or left it before.

    `sure` is False for names that an application may use as well, and did so before LangGraph 0.3 only.
    """

    node: str
    names: frozenset[str] = frozenset()
    sure: bool = True


@lru_cache(maxsize=4096)
def trigger(channel: str) -> Trigger | None:
    """Return what the channel triggers by its name, None for a channel of the state."""
    if channel == START:
        return Trigger(START)
    if found := _TO.fullmatch(channel):
        return Trigger(found["node"])
    if found := _JOIN.fullmatch(channel):
        return Trigger(found["node"], frozenset(found["names"].split("+")))
    if found := _FROM_START.fullmatch(channel):
        return Trigger(found["node"], frozenset({START}), sure=False)
    if found := _BRANCH.fullmatch(channel):
        return Trigger(found["node"], frozenset({found["source"]}), sure=False)
    return None


def is_control(channel: str, value: Any, nodes: Container[str]) -> bool:
    """Tell whether a channel is LangGraph's own. `nodes` are those known to have run.

    Before 0.3 channels were named after nodes; they hold the name of the node that wrote them. A key of the
    state may have a node's name, too.
    """
    if channel in RESERVED:
        return True
    if channel in nodes:
        return value is None or value == channel
    found = trigger(channel)
    return found is not None and (found.sure or fits(found, value, nodes))


def fits(found: Trigger, value: Any, nodes: Container[str]) -> bool:
    """Tell whether an unsure trigger is one: it holds its source's name, or its target has run."""
    return found.sure or found.node in nodes or (isinstance(value, str) and value in found.names)
