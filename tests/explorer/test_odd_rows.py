"""One odd row never takes a page down: it is marked, and its neighbours are shown."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypedDict

import graphs
import ormsgpack
import pytest
from dialogs import every_dialog
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.types import Interrupt
from pages import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import AsyncClient

ONE, METHOD, KEYWORDS, POSITIONAL = 0, 3, 2, 1


def object_of(code: int, *parts: Any) -> ormsgpack.Ext:
    return ormsgpack.Ext(code, ormsgpack.packb(list(parts)))


def nested(levels: int, *, join: bool = False) -> ormsgpack.Ext:
    value: Any = "x"
    for _ in range(levels):
        value = object_of(ONE, "m", "C", [value, True] if join else value)
    return value


ODD: dict[str, dict[str, Any]] = {
    "time before time": {"ts": "0001-01-01T00:00:00+14:00"},
    "time of no kind": {"ts": 5},
    "deep join": {
        "channel_values": {"join:a+b:x": nested(3_000, join=True)},
        "channel_versions": {"join:a+b:x": 1},
    },
    "deep object": {"channel_values": {"deep": nested(3_000)}},
    "odd time": {
        "channel_values": {"t": object_of(KEYWORDS, "datetime", "time", {"hour": [1], "minute": "2"})}
    },
    "odd span": {"channel_values": {"t": object_of(POSITIONAL, "datetime", "timedelta", [1, 2**62, 0])}},
    "odd path": {"channel_values": {"p": object_of(POSITIONAL, "pathlib", "Path", [[1], None])}},
    "odd uuid": {"channel_values": {"u": object_of(ONE, "uuid", "UUID", 7)}},
    "values of no kind": {"channel_values": [1], "channel_versions": "x", "versions_seen": [{}]},
    "seen of no kind": {
        "versions_seen": {"node": 5, "other": {"ch": [1]}},
        "channel_versions": {"ch": {"a": 1}},
    },
    "odd messages": {
        "channel_values": {
            "messages": [
                object_of(5, "m", "AIMessage", {"content": 5, "tool_calls": "x", "id": [1]}, None),
                object_of(5, "m", "HumanMessage", {"content": {"a": 1}, "type": ["x"]}, None),
                {"role": "user", "content": None, "tool_calls": [1, {"function": 3}]},
            ]
        },
        "channel_versions": {"messages": 1},
    },
    "odd sends": {
        "channel_values": {"__pregel_tasks": [1, None, object_of(1, "langgraph.types", "Send", 5)]}
    },
    "odd version": {"v": "four", "pending_sends": "x"},
    "keys that are no text": {
        "channel_values": {1: "one", None: 2, 2.5: 3, b"x": 4},
        "channel_versions": {1: 1, None: 2, 2.5: 3},
        "versions_seen": {5: {1: 1}, "node": {None: 1}},
    },
    "very many channels": {
        "channel_values": {f"c{n}": n for n in range(3_000)},
        "channel_versions": {f"c{n}": 1 for n in range(3_000)},
        "versions_seen": {f"n{n}": {f"c{n}": 1} for n in range(3_000)},
    },
    "very many calls": {
        "channel_values": {
            "messages": [{"role": "ai", "content": "x", "tool_calls": [{"name": "t", "args": {}}] * 3_000}]
        },
        "channel_versions": {"messages": 1},
    },
}


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A store with a good thread, and one whose middle row has been tampered with."""
    path = tmp_path / "odd.sqlite"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graphs.joining(saver).invoke({"log": []}, graphs.config("tampered"))
        graphs.joining(saver).invoke({"log": []}, graphs.config("good"))
    return path


def tamper(path: Path, content: dict[str, Any]) -> str:
    """Put the content into the newest checkpoint of the thread and return its id."""
    with closing(sqlite3.connect(path)) as db, db:
        id, blob = db.execute(
            "SELECT checkpoint_id, checkpoint FROM checkpoints WHERE thread_id = 'tampered' ORDER BY 1 DESC"
        ).fetchone()
        kept = ormsgpack.unpackb(blob, ext_hook=ormsgpack.Ext)
        db.execute(
            "UPDATE checkpoints SET checkpoint = ? WHERE checkpoint_id = ?",
            (ormsgpack.packb({**kept, **content}, option=ormsgpack.OPT_NON_STR_KEYS), id),
        )
    return str(id)


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
async def test_every_page_is_shown_around_an_odd_row(
    odd: Path, at: Callable[..., AsyncClient], content: dict[str, Any]
) -> None:
    id = tamper(odd, content)
    client = at(odd)
    threads = await load(client, "/s/odd/threads/")
    assert {link.text for link in threads.find("td.id a")} == {"tampered", "good"}
    for density in ("compact", "steps", "everything"):
        timeline = await load(client, f"/s/odd/threads/tampered/?density={density}")
        assert len(timeline.find("a.step")) == 5
    checkpoint = await load(client, f"/s/odd/threads/tampered/checkpoints/{id}/")
    assert checkpoint.find("article")[0]["data-checkpoint"] == id
    assert (await client.get(f"/s/odd/threads/tampered/checkpoints/{id}/raw/")).status_code == 200


async def test_every_dialog_forks_what_is_not_odd(odd: Path, at: Callable[..., AsyncClient]) -> None:
    made = await every_dialog(at(odd), "odd", "tampered", tamper(odd, {}))
    assert len(made) == 3, "in place, into a new thread, and with the only channel edited"


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
async def test_every_dialog_works_or_refuses_at_an_odd_row(
    odd: Path, at: Callable[..., AsyncClient], content: dict[str, Any]
) -> None:
    await every_dialog(at(odd), "odd", "tampered", tamper(odd, content))


async def test_many_odd_writes_are_counted_and_bounded(odd: Path, at: Callable[..., AsyncClient]) -> None:
    id = tamper(odd, {})
    question = JsonPlusSerializer().dumps_typed([Interrupt("x" * 5_000)])
    with closing(sqlite3.connect(odd)) as db, db:
        db.executemany(
            "INSERT INTO writes VALUES ('tampered', '', ?, ?, '~__pregel_push, ' || ? || ', 1', ?, ?, ?, ?)",
            [(id, f"task {n}", "9" * 5_000, n, "__interrupt__", *question) for n in range(1_000)],
        )
    client = at(odd)
    for target in ("", "tampered/", "tampered/?density=everything", f"tampered/checkpoints/{id}/"):
        response = await client.get(f"/s/odd/threads/{target}")
        assert response.status_code == 200
        assert len(response.content) < 3_000_000


METADATA = [
    '{"source": ["x"], "step": "<b>"}',
    '{"step": 1e400}',
    '{"writes": 5, "source": "loop"}',
    "[1]",
    '"x"',
    "{",
]


@pytest.mark.parametrize("metadata", METADATA)
async def test_every_page_is_shown_around_odd_metadata(
    odd: Path, at: Callable[..., AsyncClient], metadata: str
) -> None:
    id = tamper(odd, {})
    with closing(sqlite3.connect(odd)) as db, db:
        db.execute("UPDATE checkpoints SET metadata = ? WHERE checkpoint_id = ?", (metadata.encode(), id))
    client = at(odd)
    for target in ("", "tampered/", f"tampered/checkpoints/{id}/", f"tampered/checkpoints/{id}/raw/"):
        assert (await client.get(f"/s/odd/threads/{target}")).status_code == 200
    await every_dialog(client, "odd", "tampered", id)


ODD_COLUMNS = {
    "parent of no text": ("parent_checkpoint_id", b"\xff\x00"),
    "own parent": ("parent_checkpoint_id", None),
    "blob of no bytes": ("checkpoint", "text"),
    "no blob": ("checkpoint", None),
    "type of no text": ("type", b"\xff"),
    "no type": ("type", None),
    "metadata of no UTF-8": ("metadata", b"\xff\xfe\x00"),
    "metadata as a number": ("metadata", 5),
    "metadata in UTF-16": ("metadata", '{"step": 1}'.encode("utf-16")),
}


@pytest.mark.parametrize(("column", "value"), ODD_COLUMNS.values(), ids=ODD_COLUMNS)
async def test_every_dialog_works_or_refuses_at_an_odd_column(
    odd: Path, at: Callable[..., AsyncClient], column: str, value: Any
) -> None:
    id = tamper(odd, {})
    with closing(sqlite3.connect(odd)) as db, db:
        db.execute(f"UPDATE checkpoints SET {column} = ? WHERE checkpoint_id = ?", (value, id))
    await every_dialog(at(odd), "odd", "tampered", id)


async def test_a_fork_beside_a_row_with_a_binary_id_is_shown(
    odd: Path, at: Callable[..., AsyncClient]
) -> None:
    id = tamper(odd, {})
    with closing(sqlite3.connect(odd)) as db, db:
        db.execute(
            "INSERT INTO checkpoints SELECT thread_id, checkpoint_ns, CAST('0' || checkpoint_id AS BLOB),"
            " parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints WHERE checkpoint_id = ?",
            (id,),
        )
        db.execute("UPDATE checkpoints SET metadata = ? WHERE checkpoint_id = ?", (b'{"source": "fork"}', id))
    page = await load(at(odd), f"/s/odd/threads/tampered/checkpoints/{id}/")
    assert page.one("article .tag.fork").words == "fork"


async def test_a_text_that_is_no_utf_8_is_refused_and_leaves_no_lock(
    odd: Path, at: Callable[..., AsyncClient]
) -> None:
    id = tamper(odd, {})
    with closing(sqlite3.connect(odd)) as db, db:
        db.execute("UPDATE checkpoints SET type = CAST(x'ff' AS TEXT) WHERE checkpoint_id = ?", (id,))
    await every_dialog(at(odd), "odd", "tampered", id)
    with closing(sqlite3.connect(odd, timeout=0)) as db, db:
        db.execute("DELETE FROM checkpoints WHERE thread_id = 'good'")


async def test_a_state_key_named_like_a_trigger_is_state(
    tmp_path: Path, at: Callable[..., AsyncClient]
) -> None:
    Named = TypedDict("Named", {"start:date": str, "branch:office": str, "__hidden": str})
    with SqliteSaver.from_conn_string(str(tmp_path / "named.sqlite")) as saver:
        graph = (
            StateGraph(Named).add_node("work", lambda state: {"start:date": "today"}).add_edge(START, "work")
        )
        graph.compile(saver).invoke({"branch:office": "Bern", "__hidden": "x"}, graphs.config("named"))
    client = at(tmp_path / "named.sqlite")
    threads = await load(client, "/s/named/threads/")
    assert threads.one("td.state span").text == "idle"
    timeline = await load(client, "/s/named/threads/named/")
    page = await load(client, timeline.find("a.step")[0]["href"])
    names = {heading.text.split()[0] for heading in page.find("div.channel h3")}
    assert {"start:date", "branch:office", "__hidden"} <= names


async def test_the_state_of_a_functional_graph_is_shown(
    tmp_path: Path, at: Callable[..., AsyncClient]
) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "flow.sqlite")) as saver:

        @entrypoint(checkpointer=saver)
        def flow(n: int) -> str:
            return f"result {n}"

        flow.invoke(7, graphs.config("flow"))
    client = at(tmp_path / "flow.sqlite")
    timeline = await load(client, "/s/flow/threads/flow/")
    page = await load(client, timeline.find("a.step")[0]["href"])
    assert "result 7" in page.one("#changes").text
    assert "result 7" in page.one("#state").text
