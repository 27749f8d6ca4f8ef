"""Named errors of deletions, each with a sentence and what to do."""

from __future__ import annotations

from checkpoints.errors import NotFound, StoreError


class NoDeletion(NotFound):
    """There is no deletion of this id."""

    advice = "The list of deletions has them all. A plan that nobody confirms is kept for a week."


class NotAsPlanned(StoreError):
    """The threads of a plan are not what they were, or somebody has been faster."""

    advice = "Nothing was deleted. Look at what has changed, then plan it again."


class NothingToDelete(StoreError):
    """No thread is meant."""

    advice = "Find threads first, and choose some of them or all."
