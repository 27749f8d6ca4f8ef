"""How much one value may cost to read."""

from __future__ import annotations

from dataclasses import dataclass


class OverBudget(ValueError):
    """A value would cost more than its budget."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The bounds of reading one value.

    `bytes`: nothing longer is decoded at all. `inline`: longer parts of a value stay `Deferred`.
    `nodes`: objects made; a msgpack byte can become 70 bytes of objects, so the default may cost 50 MB.
    `depth`: nested containers; ormsgpack reads 1022 but writes only 255. `seconds`: looking for the ends
    of parts without decoding them, the only loop that runs in Python.
    """

    bytes: int = 64 << 20
    inline: int = 1 << 20
    nodes: int = 250_000
    depth: int = 200
    seconds: float = 1.0


DEFAULT = Budget()
