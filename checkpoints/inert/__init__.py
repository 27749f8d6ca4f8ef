"""Reading stored values without running anything they name.

LangGraph's own serializer imports the modules and calls the constructors that a row names. Here every
object stays a record of what the row says, and goes back to the same bytes.
"""

from __future__ import annotations

from checkpoints.inert.budget import Budget
from checkpoints.inert.constructors import opened, payload
from checkpoints.inert.msgpack import Deferred, Extension, channel_spans
from checkpoints.inert.nodes import (
    Constructed,
    DeltaSnapshot,
    Encrypted,
    Kind,
    NumpyArray,
    Rotten,
    Unreadable,
)
from checkpoints.inert.pickled import Pickled
from checkpoints.inert.serializer import InertSerializer

__all__ = [
    "Budget",
    "Constructed",
    "Deferred",
    "DeltaSnapshot",
    "Encrypted",
    "Extension",
    "InertSerializer",
    "Kind",
    "NumpyArray",
    "Pickled",
    "Rotten",
    "Unreadable",
    "channel_spans",
    "opened",
    "payload",
]
