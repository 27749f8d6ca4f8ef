"""A page of a branch: a stretch of a checkpoint and its ancestors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.stores.budget import NEWER_AROUND

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def stretch(
    met: Iterable[str], before: str | None, around: str | None, limit: int
) -> tuple[Sequence[str], str | None, str | None]:
    """Return the ids of a page, and the keys of its neighbours as a page of a timeline has them.

    The page begins after `before`, a little above `around`, or at the first; so it does where the branch
    has none of these.
    """
    chain = list(dict.fromkeys(met))  # links may loop
    start = 0
    if before in chain:
        start = chain.index(before) + 1
    elif around in chain:
        start = max(chain.index(around) - NEWER_AROUND, 0)
    shown = chain[start : start + limit]
    older = shown[-1] if start + limit < len(chain) and shown else None
    return shown, older, "" if start else None
