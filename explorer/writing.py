"""Whether a store may be written from here, and what a form has seen of it."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpResponseRedirect
from django.utils.crypto import salted_hmac

from checkpoints.errors import CheckpointChanged, ForkRefused, NotWritable
from checkpoints.inert.packing import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from checkpoints.stores import Store
    from checkpoints.stores.records import CheckpointRow

LONGEST = 12_000  # characters; Django redirects to no more than 16 KB
IN_PYTHON = "checkpoints.forking forks it from Python."
READ_ONLY = "This explorer is read-only: it was started with --read-only."


async def refusal(opened: Store) -> str:
    """Say why nothing can be written, empty where nothing is in the way."""
    return read_only() or await opened.write_refusal() or ""


def read_only() -> str:
    """Say that this explorer writes nothing, if it does not."""
    return READ_ONLY if settings.EXPLORER_READ_ONLY else ""


def require_not_read_only() -> None:
    """Raise NotWritable where this explorer writes nothing."""
    if reason := read_only():
        raise NotWritable(reason)


def require(reason: str, basis: str, seen: str, back: str) -> None:
    """Raise NotWritable for a reason, and CheckpointChanged where a form has seen something else.

    After the fork a browser is sent to an address as long as the one that leads `back`.
    """
    if reason:
        raise NotWritable(reason)
    if len(back) > LONGEST:
        raise ForkRefused("The thread's id is too long for the address of a page.", advice=IN_PYTHON)
    if basis != seen:
        raise CheckpointChanged("The checkpoint has changed since this form was made.")


def basis_of(row: CheckpointRow, deltas: Mapping[str, Any] | None = None) -> str:
    """Return what a checkpoint is known by in a form, so that none is forked that was not seen.

    `deltas` are values from its ancestors that are edited, too.
    """
    metadata = row.metadata.encode() if isinstance(row.metadata, str) else row.metadata or b""
    channels = repr([(channel.name, channel.size) for channel in row.channels or ()]).encode()
    seen = (row.blob or b"", metadata, channels, fingerprint(dict(deltas or {})))
    # Keyed: with a bare digest one could try values that are masked.
    return salted_hmac("explorer.basis", sha256(b"\0".join(seen)).digest()).hexdigest()[:24]


def bytes_in_place(row: CheckpointRow) -> int:
    """Return how many bytes a fork in place writes: PostgreSQL's shares the values of what it copies."""
    return (row.size if row.channels is None else len(row.blob or b"")) + len(row.metadata or b"")


def done(href: str) -> HttpResponseRedirect:
    """Lead from a form to what has become of it."""
    response = HttpResponseRedirect(href)
    response.status_code = 303
    return response
