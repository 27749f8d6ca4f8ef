"""Reference databases, written by LangGraph releases of all ages, as the app shows them.

CHECKPOINT_CORPUS names their folder. Beside each database lies what the official savers say of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from corpus_dump import restore
from corpus_shown import ShownCheckpoint, ShownThread, shown

from checkpoints.errors import OldSchema
from checkpoints.inert import InertSerializer, payload
from checkpoints.messages import message
from checkpoints.snapshot import Snapshot
from checkpoints.stores import Location, close, read
from explorer.recall import forget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import Databases

CORPUS = Path(os.environ.get("CHECKPOINT_CORPUS", "/nonexistent"))
if "CHECKPOINT_CORPUS" not in os.environ:
    pytest.skip("CHECKPOINT_CORPUS names no folder of reference databases", allow_module_level=True)

KEY = "corpus-test-key!"
BEFORE_0_3 = {"sqlite-1.0.0", "sqlite-1.0.4", "sqlite-2.0.1", "sqlite-2.0.5"}
SEALED = "encrypted"
DUMP = "postgres"
NAMES = [
    str(path.relative_to(CORPUS).with_suffix(""))
    for path in sorted(CORPUS.rglob("*.sqlite"))
    if path.parent.name != "hostile" and not path.name.startswith("langgraph-0.")
]

Checkpoints = dict[tuple[str, str, str], dict[str, Any]]


class Database:
    """A reference database, what the official savers read in it, and what the app shows of it."""

    def __init__(self, name: str, key: str | None, place: str | None = None) -> None:
        self.path = CORPUS / f"{name}.sqlite"
        self.place = place or str(self.path)
        self.name = self.path.stem
        self.sealed = self.name == SEALED and key is None
        self.documents = [
            json.loads(path.read_text()) for path in self.path.parent.glob(f"{self.name}.expected*.json")
        ]
        self.threads = shown(self.place)

    @property
    def official(self) -> Iterator[tuple[tuple[str, str, str], dict[str, Any]]]:
        """Every checkpoint that an official saver could read, by thread, namespace and id."""
        for document in self.documents:
            for thread, listed in document["threads"].items():
                for ns, timeline in listed.get("namespaces", listed).items():
                    for at in timeline if isinstance(timeline, list) else timeline["checkpoints"]:
                        yield (thread, ns, at["checkpoint_id"]), at

    @cached_property
    def ids(self) -> set[tuple[str, str, str]]:
        """All checkpoints, those too that an official saver found but could not read."""
        found = {tuple(row[:3]) for doc in self.documents for row in doc.get("official_reader_per_row", ())}
        return found | {key for key, _ in self.official}

    @cached_property
    def shown(self) -> dict[tuple[str, str, str], ShownCheckpoint]:
        return {
            (thread, ns, at.checkpoint_id): at
            for thread, seen in self.threads.items()
            for ns, checkpoints in seen.namespaces.items()
            for at in checkpoints
        }

    @property
    def states(self) -> Iterator[tuple[ShownThread, dict[str, Any]]]:
        """Every thread beside what `get_state` said of it where it was written."""
        beside = self.path.with_suffix(".states.json")
        if beside.exists():
            listed = json.loads(beside.read_text())["threads"]
            states = {thread["thread_id"]: thread["state"] for thread in listed if thread.get("state")}
        else:
            states = self.documents[0]["states"]
        yield from ((self.threads[thread], state) for thread, state in states.items())


@pytest.fixture(scope="module", autouse=True)
def _untouched() -> Iterator[None]:
    """Nothing in the folder is changed, added or taken away by all that follows."""
    before = fingerprint(CORPUS)
    yield
    assert fingerprint(CORPUS) == before


@pytest.fixture(
    scope="module", params=[*((name, None) for name in NAMES), (SEALED, KEY), (DUMP, None)], ids=str
)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    name, key = request.param
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.delenv("LANGGRAPH_AES_KEY", raising=False)
        if key:
            patch.setenv("LANGGRAPH_AES_KEY", key)
        forget()  # a page of the same file, read with another key
        url = None
        if name == DUMP:
            url = stack.enter_context(request.getfixturevalue("postgres").database())
            restore(CORPUS / f"{name}.sql", url)
        yield Database(name, key, url)


def fingerprint(folder: Path) -> dict[str, tuple[int, str]]:
    """Return the time and hash of every file in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def orphans(database: Database) -> set[str]:
    sql = "SELECT thread_id FROM {} EXCEPT SELECT thread_id FROM checkpoints"
    if database.name == DUMP:
        with psycopg.connect(database.place) as connection:
            return {thread for (thread,) in connection.execute(sql.format("checkpoint_writes").encode())}
    with closing(sqlite3.connect(f"{database.path.as_uri()}?immutable=1", uri=True)) as conn:
        return {thread for (thread,) in conn.execute(sql.format("writes"))}


def test_all_threads_are_listed(database: Database) -> None:
    alone = {thread for thread, seen in database.threads.items() if seen.status == "orphaned writes"}
    assert alone == orphans(database)
    assert database.threads.keys() - alone == {thread for thread, _, _ in database.ids}


def test_all_checkpoints_of_all_namespaces_are_counted(database: Database) -> None:
    expected = Counter((thread, ns) for thread, ns, _ in database.ids)
    shown = {(thread, ns): n for thread, seen in database.threads.items() for ns, n in seen.counts.items()}
    assert Counter(shown) == expected
    assert all(sum(seen.counts.values()) == seen.total for seen in database.threads.values())


def test_all_checkpoints_are_shown(database: Database) -> None:
    assert database.shown.keys() == database.ids


def test_parents_sources_and_steps_are_those_the_official_saver_reads(database: Database) -> None:
    for key, official in database.official:
        seen = database.shown[key]
        assert (seen.related.parent_id, seen.source, seen.step) == (
            official["parent_id"],
            official["source"],
            official["step"],
        ), key


def test_pending_writes_are_those_the_official_saver_reads_in_its_order(database: Database) -> None:
    for key, official in database.official:
        assert database.shown[key].related.writes == [write[:2] for write in official["writes"]], key


def test_the_status_of_a_thread_is_what_its_graph_said(database: Database) -> None:
    for seen, state in database.states:
        expected = status(state)
        # An old edge's channel names only the node it comes from: a successor that never ran is unknown.
        unknown = database.name in BEFORE_0_3 and expected == "pending" and seen.status == "idle"
        sealed = database.sealed and seen.status == "unreadable"
        assert unknown or sealed or seen.status == expected, state["checkpoint_id"]


def test_the_unfinished_step_names_the_tasks_that_the_graph_named(database: Database) -> None:
    for seen, state in database.states:
        named = sorted(task["name"] for task in state["tasks"]) or sorted(state["next"])
        unknown = database.name in BEFORE_0_3 and seen.status == "idle"
        if seen.status != "unreadable" and not unknown:
            assert sorted(seen.next) == named, state["checkpoint_id"]


def test_questions_and_errors_are_those_the_graph_reported(database: Database) -> None:
    for seen, state in database.states:
        failures = [task["error"] for task in state["tasks"] if task.get("error")]
        asked = sum(len(task.get("interrupts") or ()) for task in state["tasks"])
        assert len(seen.failures) == len(failures), state["checkpoint_id"]
        assert all(error in " ".join(seen.failures) for error in failures)
        sealed = database.sealed and seen.status == "unreadable"
        assert sealed or len(seen.questions) == asked, state["checkpoint_id"]


@pytest.mark.parametrize("name", ["current", DUMP])
async def test_the_values_of_a_head_are_those_the_official_saver_reads(
    name: str, request: pytest.FixtureRequest
) -> None:
    expected = json.loads((CORPUS / f"{name}.expected.json").read_text())
    place = request.getfixturevalue("database_of_dump") if name == DUMP else str(CORPUS / f"{name}.sqlite")
    compared = 0
    for thread, listed in expected["threads"].items():
        for ns, timeline in listed["namespaces"].items():
            at = await head(place, thread, ns, timeline["latest"]["checkpoint_id"])
            official = timeline["latest"]["channel_values"]
            assert (at.metadata, at.values.keys()) == (timeline["latest"]["metadata"], official.keys())
            assert agrees(official, at.values), (thread, ns)
            compared += len(official)
    assert compared > 300


@pytest.fixture
def database_of_dump(postgres: Databases) -> Iterator[str]:
    with postgres.database() as url:
        restore(CORPUS / f"{DUMP}.sql", url)
        yield url


async def head(place: str, thread: str, ns: str, id: str) -> Snapshot:
    try:
        row = await read(Location.parse(place), lambda opened: opened.checkpoint_row(thread, ns, id))
        return Snapshot(row, InertSerializer())
    finally:
        await close()


def agrees(said: Any, value: Any) -> bool:
    """Tell whether a value is what the reference says of it in plain JSON.

    Of a message that is the text, of an object of a class that could not be imported its fields.
    """
    inside = payload(value)
    match said:
        case {"__type__": str(kind), "fields": {"content": str(content)}} if ".messages." in kind:
            found = message(value)
            return found is not None and found.text == content
        case dict() if any(key.startswith("__") for key in said):
            return True
        case dict():
            return said.keys() == inside.keys() and all(agrees(said[key], inside[key]) for key in said)
        case list():
            return len(said) == len(inside) and all(map(agrees, said, inside))
    return bool(said == inside)


def status(state: dict[str, Any]) -> str:
    if any(task.get("error") for task in state["tasks"]):
        return "error"
    if any(task.get("interrupts") for task in state["tasks"]):
        return "interrupted"
    return "pending" if state["next"] else "idle"


@pytest.mark.parametrize("name", ["langgraph-0.0", "langgraph-0.1"])
async def test_a_store_older_than_checkpoint_ids_is_refused_by_name(name: str) -> None:
    with pytest.raises(OldSchema):
        await read(Location.parse(str(CORPUS / "eras" / f"{name}.sqlite")), lambda opened: opened.overview())
