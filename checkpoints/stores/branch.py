"""A page of a branch: a stretch of a checkpoint and its ancestors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.stores.budget import MOST_ABOVE, NEWER_AROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from checkpoints.statements import Operation


def stretch(
    chain: Callable[[str, int], Operation[Sequence[str]]],
    tip: str,
    before: str | None,
    around: str | None,
    limit: int,
) -> Operation[tuple[Sequence[str], str | None, str | None]]:
    """Return the ids of a page, and the keys of its neighbours as a page of a timeline has them.

    `chain` reads so many of a checkpoint and its ancestors. The page begins after `before`, a little above
    `around`, or at the tip; so it does where one of these is not in the store.
    """
    if before and (met := (yield from _met(chain, before, limit + 2))):
        return _page(met, 1, limit)
    if around and around != tip:
        met = yield from _met(chain, tip, MOST_ABOVE)
        if around in met:
            return _page(met, max(met.index(around) - NEWER_AROUND, 0), limit)
        if met := (yield from _met(chain, around, limit + 1)):  # far below, or of another branch
            shown, older, _ = _page(met, 0, limit)
            return shown, older, ""
    return _page((yield from _met(chain, tip, limit + 1)), 0, limit)


def _met(chain: Callable[[str, int], Operation[Sequence[str]]], id: str, rows: int) -> Operation[list[str]]:
    return list(dict.fromkeys((yield from chain(id, rows))))  # links may loop


def _page(met: Sequence[str], start: int, limit: int) -> tuple[Sequence[str], str | None, str | None]:
    shown = met[start : start + limit]
    older = shown[-1] if start + limit < len(met) and shown else None
    return shown, older, "" if start else None
