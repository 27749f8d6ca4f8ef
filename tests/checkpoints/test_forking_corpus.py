"""Forks of the reference databases beside LangGraph's own copies of the same checkpoints."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import psycopg
import pytest
from copies import in_order
from corpus_dump import restore
from graphs import official_saver
from langgraph.graph import START, StateGraph

from checkpoints.forking import fork, fork_thread
from checkpoints.inert import InertSerializer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import Databases

CORPUS = Path(os.environ.get("CHECKPOINT_CORPUS", "/nonexistent"))
if "CHECKPOINT_CORPUS" not in os.environ:
    pytest.skip("CHECKPOINT_CORPUS names no folder of reference databases", allow_module_level=True)

COUNT = "SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints ORDER BY 1, 2, 3"
KEPT = {"user_id", "tenant"}


class Nothing(TypedDict, total=False):
    """No channel: LangGraph's copies take values as they are."""

    nothing: int


@pytest.fixture(params=["current.sqlite", "postgres.sql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A copy of a database of this year's packages."""
    if request.param.endswith(".sqlite"):
        yield shutil.copy(CORPUS / request.param, tmp_path)
        return
    postgres: Databases = request.getfixturevalue("postgres")
    with postgres.database() as url:
        restore(CORPUS / request.param, url)
        yield url


def keys(place: str) -> list[tuple[str, str, str]]:
    if place.startswith("postgresql"):
        with psycopg.connect(place) as conn:
            return [tuple(map(str, row)) for row in conn.execute(COUNT.encode())]  # type: ignore[misc]
    with closing(sqlite3.connect(place)) as db:
        return db.execute(COUNT).fetchall()


def config(thread: str, ns: str, id: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id}}


def parted(at: Any) -> tuple[Any, ...]:
    """Return what a saver tells of a checkpoint but its id, time and the metadata that forks keep."""
    checkpoint = {key: value for key, value in at.checkpoint.items() if key not in {"id", "ts"}}
    metadata = {key: at.metadata.get(key) for key in ("source", "step", "parents")}
    return in_order(checkpoint), metadata, at.parent_config, at.pending_writes


def test_a_fork_of_every_checkpoint_is_langgraph_s_copy_of_it(place: str) -> None:
    """The serializer opens no object, so that values of classes that are not here are compared, too."""
    known = [key for key in keys(place) if not key[1]]
    with official_saver(place) as saver:
        saver.serde = InertSerializer()
        graph = StateGraph(Nothing).add_node("a", lambda state: {}).add_edge(START, "a").compile(saver)
        for thread, ns, id in known:
            if saver.get_tuple(config(thread, ns, id)).checkpoint["v"] < 4:
                continue
            theirs = saver.get_tuple(graph.update_state(config(thread, ns, id), None, as_node="__copy__"))
            ours = saver.get_tuple(config(thread, ns, fork(place, thread, id).checkpoint_id))
            assert parted(ours) == parted(theirs), (thread, id)
    assert len(known) > 100


def test_every_head_is_forked_into_a_new_thread_that_reads_the_same(place: str) -> None:
    heads = {(thread, ns): id for thread, ns, id in keys(place) if not ns}
    with official_saver(place) as saver:
        saver.serde = InertSerializer()
        for number, ((thread, ns), id) in enumerate(heads.items()):
            fork_thread(place, thread, f"fork {number}", id)
            ours, theirs = (saver.get_tuple(config(name, ns, id)) for name in (f"fork {number}", thread))
            assert in_order(ours.checkpoint) == in_order(theirs.checkpoint)
            assert (ours.metadata, ours.pending_writes) == (theirs.metadata, theirs.pending_writes)
            assert (ours.parent_config is None) == (theirs.parent_config is None)
