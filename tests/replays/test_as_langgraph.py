"""A replay does what LangGraph does when it is asked directly, with the official saver, on a copy."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.errors import EmptyInputError
from langgraph.types import Command
from runnable import source_of
from thread_graphs import SHAPES, Executions, begin, ways, written

from checkpoints.outlook import waiting
from checkpoints.steps import steps
from checkpoints.stores import Location, read
from explorer.asking import kinds
from explorer.graphs.sources import GraphSource
from explorer.pages import one
from explorer.running.job import Job
from explorer.running.run import Stop, run
from explorer.views.ask import outlook_of as prospect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from checkpoints.steps import Step

EVENT = dict[str, Any]
IDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")


class Outcome(NamedTuple):
    """What a run has come to: how it ended, the nodes that ran, and all that the thread holds then."""

    state: str
    ran: list[str]
    rows: list[str]


class Copies:
    """Copies of a database with a thread of each shape."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0

    def new(self) -> Path:
        self._number += 1
        path = self._folder / f"copy-{self._number}.sqlite"
        path.write_bytes(written())
        return path


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path)


def checkpoints_of(path: Path, name: str) -> list[tuple[str, str]]:
    """Return namespace and id of each checkpoint of a thread."""
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(
            "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = ? ORDER BY 1, 2", [name]
        ).fetchall()


def stored(path: Path, name: str) -> list[str]:
    """Return all that is stored of a thread: the story of each namespace, without ids, in any order.

    Subgraphs that run side by side begin in any order, and so their ids are.
    """
    told = []
    with closing(sqlite3.connect(path, check_same_thread=False)) as conn:
        saver = OfficialSaver(conn)
        for ns in dict(checkpoints_of(path, name)):
            at: Any = {"configurable": {"thread_id": name, "checkpoint_ns": ns}}
            told.append(f"{ns}: {story(reversed(list(saver.list(at))))}")
    return sorted(IDS.sub("ID", each) for each in told)


def story(found: Iterator[Any]) -> list[Any]:
    """Tell of the checkpoints of a namespace: parents by their place, writes in any order."""
    places: dict[str | None, int] = {}
    told = []
    for place, each in enumerate(found):
        places[each.checkpoint["id"]] = place
        parent = (each.parent_config or {}).get("configurable", {}).get("checkpoint_id")
        writes = sorted((channel, repr(ordered(value))) for _, channel, value in each.pending_writes or ())
        metadata = {key: each.metadata.get(key) for key in ("source", "step", "parents")}
        values = sorted(ordered(each.checkpoint["channel_values"]).items())
        told.append((place, places.get(parent), metadata, values, writes))
    return told


def ordered(value: Any) -> Any:
    """Return a value with its sets in order."""
    match value:
        case set() | frozenset():
            return sorted(value, key=repr)
        case dict():
            return {key: ordered(item) for key, item in value.items()}
    return value


def directly(path: Path, name: str, given: Any, configurable: Any) -> Outcome:
    """Run the graph from a checkpoint as a script would."""
    executions = Executions()
    config: Any = {"configurable": {"thread_id": name, **configurable}, "callbacks": [executions]}
    with closing(sqlite3.connect(path, check_same_thread=False)) as conn:
        graph = SHAPES[name].build(OfficialSaver(conn))
        try:
            # Stored in the background, what a join has seen may change before it is written.
            graph.invoke(given, config, durability="sync")
            waits = graph.get_state({"configurable": {"thread_id": name}}).next
            state = "interrupted" if waits else "succeeded"
        except (ValueError, KeyError, EmptyInputError):
            state = "failed"
    del executions.counts["__start__"]
    return Outcome(state, sorted(executions.counts.elements()), stored(path, name))


async def replayed(path: Path, name: str, ns: str, id: str, kind: Any, **given: Any) -> Outcome:
    """Run the graph from a checkpoint as a worker does."""
    source = GraphSource("shape", f"runnable:{source_of(name)}", ".")
    events: list[EVENT] = []
    job = Job(source, str(path), "", kind, name, ns, id, step_limit=50, **given)
    ended = await run(job, events.append, Stop())
    ran = sorted(event["node"] for event in events if event["type"] == "started")
    return Outcome(ended["state"], ran, stored(path, name) if "encrypted" not in given else [])


async def step_of(path: Path, name: str, ns: str, id: str) -> Step:
    location = Location.parse(str(path))
    page, serde = await read(location, lambda opened: _page(opened, name, ns, id))
    [step] = steps(page, serde)
    return step


async def _page(opened: Any, name: str, ns: str, id: str) -> Any:
    return await one(opened, name, ns, id), opened.serde


def require_same(ours: Outcome, direct: Outcome) -> None:
    """Where one node fails beside another, LangGraph lets chance decide what is stored of that."""
    if direct.state == "failed":
        ours, direct = ours._replace(ran=[], rows=[]), direct._replace(ran=[], rows=[])
    assert ours == direct


@pytest.mark.parametrize("name", SHAPES)
async def test_a_replay_of_any_checkpoint_ends_as_langgraph_itself_does(name: str, copies: Copies) -> None:
    for ns, id in checkpoints_of(copies.new(), name):
        left, right = copies.new(), copies.new()
        parents = dict((await step_of(left, name, ns, id)).at.metadata.get("parents") or {})
        address: Any = {"checkpoint_ns": ns, "checkpoint_id": id}
        if ns:
            address["checkpoint_map"] = {**parents, ns: id}
        direct = await asyncio.to_thread(directly, left, name, None, address)
        require_same(await replayed(right, name, ns, id, "replay", parents=parents), direct)


@pytest.mark.parametrize("name", [name for name in SHAPES if "resumed" in ways(name)])
@pytest.mark.parametrize("addressed", [True, False])
async def test_an_answer_goes_on_as_langgraph_itself_does(name: str, addressed: bool, copies: Copies) -> None:
    """Whether the checkpoint is named or not: it is the head."""
    left, right = copies.new(), copies.new()
    id = max(id for ns, id in checkpoints_of(left, name) if ns == "")
    step = await step_of(left, name, "", id)
    address = {"checkpoint_id": id} if addressed else {}
    direct = await asyncio.to_thread(directly, left, name, Command(resume="yes"), address)
    assert kinds(step, head=True)[0] == "resume"
    require_same(await replayed(right, name, "", id, "resume", answers={"": "yes"}, head=id), direct)


@pytest.mark.parametrize("name", [name for name in SHAPES if "resumed" in ways(name)])
async def test_an_answer_in_the_past_goes_on_as_langgraph_itself_does(name: str, copies: Copies) -> None:
    first, waits = copies.new(), []
    for ns, id in checkpoints_of(first, name):
        if ns == "" and waiting(await step_of(first, name, "", id)):
            waits.append(id)
    for id in waits:
        left, right = copies.new(), copies.new()
        for path in (left, right):
            await asyncio.to_thread(directly, path, name, Command(resume="yes"), {})
        direct = await asyncio.to_thread(directly, left, name, Command(resume="no"), {"checkpoint_id": id})
        require_same(await replayed(right, name, "", id, "resume", answers={"": "no"}), direct)


@pytest.mark.parametrize("name", SHAPES)
async def test_going_on_at_the_head_ends_as_langgraph_itself_does(name: str, copies: Copies) -> None:
    left, right = copies.new(), copies.new()
    id = max(id for ns, id in checkpoints_of(left, name) if ns == "")
    direct = await asyncio.to_thread(directly, left, name, None, {})
    require_same(await replayed(right, name, "", id, "continue", head=id), direct)


@pytest.mark.parametrize("name", [name for name in SHAPES if "trip" not in name])
async def test_a_new_input_of_any_checkpoint_ends_as_langgraph_itself_does(name: str, copies: Copies) -> None:
    speaks = name == "agent with tools"
    given = {"messages": [{"role": "user", "content": "?"}]} if speaks else SHAPES[name].given
    for ns, id in checkpoints_of(copies.new(), name):
        if ns:
            continue
        left, right = copies.new(), copies.new()
        direct = await asyncio.to_thread(directly, left, name, given, {"checkpoint_id": id})
        require_same(await replayed(right, name, "", id, "input", input=given), direct)


# The tasks of functional graphs are in no store; what a join has seen may be stored a step too early.
FORETOLD = [name for name in SHAPES if not name.startswith(("functional", "joined"))]


@pytest.mark.parametrize("name", FORETOLD)
@pytest.mark.parametrize("kind", ["replay", "continue", "resume"])
async def test_what_is_foretold_to_run_runs(kind: str, name: str, copies: Copies) -> None:
    first = copies.new()
    ids = [id for ns, id in checkpoints_of(first, name) if ns == ""]
    for id in ids:
        step = await step_of(first, name, "", id)
        if kind not in kinds(step, head=id == ids[-1]):
            continue
        foretold = prospect(kind, step, is_head=id == ids[-1])
        head = id if kind == "continue" or (kind == "resume" and id == ids[-1]) else ""
        events: list[EVENT] = []
        answers = {"": "yes"} if kind == "resume" else {}
        source = GraphSource("shape", f"runnable:{source_of(name)}", ".")
        path = copies.new()
        job = Job(source, str(path), "", kind, name, "", id, head, answers=answers)  # type: ignore[arg-type]
        ended = await run(job, events.append, Stop())
        started, kept, asked = first_step(events)
        assert sorted(node for node in foretold.runs if node != "__start__") == started, id
        assert set(kept) <= set(foretold.reused)
        if kind != "resume" and foretold.asks:
            assert ended["state"] == "interrupted"
            assert asked == len(foretold.asks)


def first_step(events: list[EVENT]) -> tuple[list[str], list[str], int]:
    """Return the nodes of the root that ran in the first superstep, those that were kept, and who asked."""
    ends = (at for at, each in enumerate(events) if each["type"] == "checkpoint" and not each["ns"])
    loops = [at for at in ends if events[at]["source"] == "loop"]
    step = [each for each in events[: loops[0] if loops else None] if each.get("ns") == ""]
    named = {
        kind: sorted(each["node"] for each in step if each["type"] == kind) for kind in ("started", "kept")
    }
    asked = sum(each["interrupts"] for each in step if each["type"] == "finished")
    return named["started"], named["kept"], asked


@pytest.mark.parametrize("sealed", [True, False])
async def test_an_encrypted_thread_stays_encrypted_and_a_plain_one_plain(
    sealed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "0123456789abcdef")
    path, name = tmp_path / "sealed.sqlite", "interrupt"
    serde = EncryptedSerializer.from_pycryptodome_aes() if sealed else JsonPlusSerializer()
    with closing(sqlite3.connect(path, check_same_thread=False)) as conn:
        begin(OfficialSaver(conn, serde=serde), name)
    [(_, id), *_] = checkpoints_of(path, name)
    ended = await replayed(path, name, "", id, "replay", encrypted=sealed)
    assert ended.state == "interrupted"
    with closing(sqlite3.connect(path)) as conn:
        kinds = {
            kind for (kind,) in conn.execute("SELECT type FROM checkpoints UNION SELECT type FROM writes")
        }
    assert all(("+aes" in kind) == sealed for kind in kinds - {"null"}), kinds
    if sealed:
        monkeypatch.delenv("LANGGRAPH_AES_KEY")
        job = Job(GraphSource("s", f"runnable:{source_of(name)}", "."), str(path), "", "replay", name, "", id)
        failed = await run(replace(job, encrypted=True), lambda _: None, Stop())
        assert failed["error"].startswith("This thread is encrypted: set LANGGRAPH_AES_KEY")
