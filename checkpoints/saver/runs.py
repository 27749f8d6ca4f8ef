"""Runs: deleting the checkpoints that a run stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checkpoints.errors import HistoryNeeded
from checkpoints.saver.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checkpoints.saver.tables import Tables
    from checkpoints.statements import Operation, Row


def as_ids(run_ids: Iterable[Any]) -> set[str]:
    """Return the run ids as text. Raises TypeError for one string in place of a list."""
    if isinstance(run_ids, str):
        raise TypeError("run_ids is one string; give a list of run ids")
    return {str(run_id) for run_id in run_ids if run_id is not None}


def delete(tables: Tables[Any], keys: Iterable[Row]) -> Operation[None]:
    """Delete the checkpoints with these keys. Raises HistoryNeeded, before anything is deleted."""
    threads: dict[str, dict[str, set[str]]] = {}
    for thread_id, ns, id in keys:
        threads.setdefault(thread_id, {}).setdefault(ns, set()).add(id)
    for thread_id, namespaces in threads.items():
        needs = Needs(tables, thread_id)
        for checkpoint_ns, ids in namespaces.items():
            yield from _check(tables, needs, thread_id, checkpoint_ns, ids)
    for thread_id, namespaces in threads.items():
        for checkpoint_ns, ids in namespaces.items():
            yield from tables.delete_checkpoints(thread_id, checkpoint_ns, ids)


def _check(
    tables: Tables[Any], needs: Needs, thread_id: str, checkpoint_ns: str, ids: set[str]
) -> Operation[None]:
    """Raise HistoryNeeded when a checkpoint that stays would lose content with these."""
    for child, parent in (yield from tables.links(thread_id, checkpoint_ns)).items():
        if parent in ids and child not in ids:
            at = yield from tables.describe(thread_id, checkpoint_ns, child)
            if (yield from needs.of(at)):
                raise HistoryNeeded(f"In thread {thread_id!r}, checkpoint {child} goes on from these runs.")
