"""What a fork in place has of the checkpoint that it copies, and what it has anew."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from checkpoints.errors import ForkRefused, ValueRefused
from checkpoints.inert import Extension, Kind
from checkpoints.inert.packing import encode
from checkpoints.saver.needs import COUNTERS
from checkpoints.saver.versions import next_version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

REASON, AUTHOR = "fork_reason", "fork_author"
# What a run says of itself in what it stores, when it carries out a request to replay a checkpoint.
REPLAY, REPLAY_REASON, REPLAY_AUTHOR = REPLAY_METADATA = ("replay_id", "replay_reason", "replay_author")
# What was told of the checkpoint that is copied, but is not so of the copy: no run has written it.
NOT_KEPT = ("writes", "run_id", REASON, AUTHOR, *REPLAY_METADATA)


@contextmanager
def readable() -> Iterator[None]:
    """Refuse what no release of LangGraph stores, in whatever way it cannot be read."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ForkRefused(
            f"The checkpoint cannot be taken apart: {why}.",
            advice="Fork it into a new thread, which copies its bytes as they are.",
        ) from None


@contextmanager
def storable(channel: str) -> Iterator[None]:
    """Refuse a value that no row can hold."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueRefused(f"The channel {channel!r} cannot hold this value: {error}") from None


def metadata_of_fork(
    metadata: Mapping[str, Any], note: Mapping[str, str], edited: Collection[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the metadata that a fork has anew, and the keys of the old that it has not.

    The rest it keeps: LangGraph's own copies lose the `user_id` by which a thread is found. A DeltaChannel
    that is stored whole has its updates counted from there.
    """
    fresh: dict[str, Any] = {"source": "fork", "step": step_of(metadata) + 1, **note}
    if not isinstance(metadata.get("parents"), dict):
        fresh["parents"] = {}
    counted = metadata.get(COUNTERS)
    if not isinstance(counted, dict) or not counted.keys() & set(edited):
        return fresh, NOT_KEPT
    if left := {name: count for name, count in counted.items() if name not in edited}:
        return {**fresh, COUNTERS: left}, NOT_KEPT
    return fresh, (*NOT_KEPT, COUNTERS)


def step_of(metadata: Mapping[str, Any]) -> int:
    """Return the step that metadata tells, that of an input where it tells none."""
    step = metadata.get("step")
    return step if isinstance(step, int) else -1


def as_stored(value: Any, channel: str, metadata: Mapping[str, Any], *, held: bool) -> Any:
    """Return a value as its channel stores it: a snapshot, where it is a DeltaChannel's.

    One that the checkpoint itself holds tells what it is. Of the others, LangGraph counts the updates.
    """
    counted = metadata.get(COUNTERS)
    if held or not isinstance(counted, dict) or channel not in counted or is_snapshot(value):
        return value
    return Extension(Kind.DELTA, encode(value))


def is_snapshot(value: Any) -> bool:
    """Tell whether a value is that of a DeltaChannel, stored whole."""
    return isinstance(value, Extension) and value.code == Kind.DELTA


def version_after(versions: Mapping[str, Any]) -> Any:
    """Return a version after all of these, of the kind that they are: text, or a number of LangGraph.js."""
    texts = [version for version in versions.values() if isinstance(version, str)]
    numbers = [version for version in versions.values() if isinstance(version, int | float)]
    if numbers and not texts:
        return max(numbers) + 1
    return next_version(max(texts, default=None))


def note_of(reason: str | None, author: str | None) -> dict[str, str]:
    """Return what a fork's metadata says of why and by whom; JSON of PostgreSQL has no NUL."""
    given = {REASON: reason, AUTHOR: author}
    return {key: text.replace("\0", "") for key, text in given.items() if text}
