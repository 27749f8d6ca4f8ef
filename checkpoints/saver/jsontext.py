"""JSON columns: metadata, and in PostgreSQL the checkpoint without its large values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol


def decode_json(serde: SerializerProtocol, raw: bytes | str | None) -> Any:
    """Return what a JSON column holds; {} for NULL."""
    # A serializer made for untrusted stores reads JSON itself. It may sit inside LangGraph's wrappers (the
    # encrypting one, the one for untyped serializers), which both call it `serde`.
    layer: Any = serde
    while layer is not None:
        if loads := getattr(layer, "loads_metadata", None):
            return loads(raw)
        layer = getattr(layer, "serde", None)
    if raw is None:
        return {}
    # As every saver writes it. json.loads takes longer over bytes, whose encoding it guesses.
    if isinstance(raw, bytes) and raw.startswith(b'{"'):
        raw = raw.decode("utf-8", "surrogatepass")
    return json.loads(raw)
