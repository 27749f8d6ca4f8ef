"""Values that a reader is not to see, replaced where a row is decoded.

Named are channels of the state and keys of the metadata. What LangGraph itself keeps of a state under other
names goes with them: inputs, what is sent to nodes, questions and answers of interrupts, errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from checkpoints.channels import INTERRUPT, RESERVED, SENDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASKED: Final = "(masked)"
# Graphs without named keys keep all of their state in these.
UNNAMED: Final = frozenset({"__root__", "__previous__", "__end__"})
# What a checkpoint has beside values; anything else of it may be anything.
PLAIN: Final = frozenset({"v", "id", "ts", "channel_versions", "versions_seen", "updated_channels"})


@dataclass(frozen=True, slots=True)
class Masks:
    """Names of channels, and of keys of the metadata: `email`, or `user.email` within one."""

    channels: frozenset[str] = frozenset()
    metadata: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.channels or self.metadata)

    def hides(self, channel: str) -> bool:
        """Tell whether a channel's value is not to be seen."""
        return channel in self.channels or bool(self.channels and channel in RESERVED | UNNAMED)

    def hides_search(self, key: str) -> bool:
        """Tell whether a search by this key of the metadata would tell what it holds."""
        tops = {name.partition(".")[0] for name in self.metadata} | ({"writes"} if self.channels else set())
        return bool(self) and key.partition(".")[0] in tops

    def value(self, channel: str, value: Any) -> Any:
        """Return a channel's value, or what is shown in its place. Nodes and ids of interrupts stay."""
        if not self.hides(channel):
            return value
        if channel in self.channels:
            return MASKED
        if channel == SENDS:
            return _sends(value)
        return _interrupts(value) if channel == INTERRUPT else MASKED

    def content(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a decoded checkpoint without the values that are not to be seen."""
        if not self.channels:
            return content
        versions = content.get("channel_versions")
        moved = versions if isinstance(versions, dict) else {}
        return {str(key): self._part(key, value, moved) for key, value in content.items()}

    def of_metadata(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return metadata without what is not to be seen; of `writes` of old releases the nodes stay."""
        shown = _without(metadata, self.metadata)
        if self.channels and "writes" in shown:
            writes = shown["writes"]
            shown["writes"] = dict.fromkeys(writes, MASKED) if isinstance(writes, dict) else MASKED
        return shown

    def _part(self, key: str, value: Any, versions: Mapping[str, Any]) -> Any:
        if key in PLAIN:
            return value
        if key == "channel_values" and isinstance(value, dict):
            return {name: self._held(str(name), held, versions.get(name)) for name, held in value.items()}
        return _sends(value) if key == "pending_sends" else MASKED

    def _held(self, channel: str, value: Any, version: Any) -> Any:
        """Return a value of the state; what is masked tells its version, so that changes are seen."""
        shown = self.value(channel, value)
        return shown if shown is not MASKED or version is None else f"(masked, version {_short(version)})"


NO_MASKS: Final = Masks()


def _without(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Leave out keys, and keys within keys: `user.email`."""
    shown: dict[str, Any] = {}
    for key, value in given.items():
        within = {name[len(key) + 1 :] for name in names if name.startswith(f"{key}.")}
        if key in names:
            shown[key] = MASKED
        elif within:
            shown[key] = _without(value, within) if isinstance(value, dict) else MASKED
        else:
            shown[key] = value
    return shown


def _short(version: Any) -> str:
    """Return the number in a version: PostgreSQL's are `00000003.0.4711`."""
    return str(version).partition(".")[0].lstrip("0")[:20] or "0"


def _sends(value: Any) -> Any:
    from checkpoints.tasks import send_nodes  # which needs the snapshots that are masked here

    items = value if isinstance(value, (list, tuple)) else [value]
    return [{"node": node, "arg": MASKED} for node in send_nodes(list(items))]


def _interrupts(value: Any) -> Any:
    from checkpoints.tasks import interrupts

    return [{"value": MASKED, "id": asked.id} for asked in interrupts(value)]
