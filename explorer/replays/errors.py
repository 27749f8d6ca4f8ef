"""Named errors of replays, each with a sentence and what to do."""

from __future__ import annotations

from checkpoints.errors import NotFound, StoreError


class NoReplay(NotFound):
    """There is no replay of this id."""

    advice = "The list of replays has all that were asked for."


class BadRequest(StoreError):
    """A request whose content is not what is asked for."""

    advice = "docs/replays.md says what to send."


class NotHeld(StoreError):
    """A replay that this worker does not hold: taken by another, ended, cancelled or lost."""

    advice = "Stop working on it; whatever you have stored stays in the store."
