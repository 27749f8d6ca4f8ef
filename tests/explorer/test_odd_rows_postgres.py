"""One odd row of a PostgreSQL store never takes a page down: its part is marked, all else is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import graphs
import psycopg
import pytest
from dialogs import every_dialog
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pages import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import AsyncClient
    from pages import Element

KEY = b"sixteen byte key"
MIB = 1 << 20


@pytest.fixture
def odd(database: str) -> str:
    """A store with a good thread, and one to be tampered with."""
    with graphs.official_saver(database) as saver:
        graphs.ask_order(saver, "tampered", user_id="ana")
        graphs.joining(saver).invoke({"log": []}, graphs.config("good"))
    return database


def execute(url: str, statement: str, *parameters: Any) -> Any:
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else None


def head(url: str, thread: str = "tampered") -> str:
    [(id,)] = execute(url, "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = %s", thread)
    return str(id)


async def every_page(client: AsyncClient, url: str) -> tuple[Element, Element, Element]:
    """Load all pages around the tampered row; return the list, the timeline and the checkpoint."""
    base = f"/s/{urlsplit(url).path[1:]}/threads/"
    listed = await load(client, base)
    assert {link.text for link in listed.find("td.id a")} == {"tampered", "good"}
    timelines = [
        await load(client, f"{base}tampered/?density={name}") for name in ("compact", "steps", "everything")
    ]
    assert {len(timeline.find("a.step")) for timeline in timelines} == {5}
    checkpoint = await load(client, f"{base}tampered/checkpoints/{head(url)}/")
    raw = await client.get(f"{base}tampered/checkpoints/{head(url)}/raw/")
    assert raw.status_code == 200 or "is not what a saver writes" in raw.content.decode()
    return listed, timelines[-1], checkpoint


ODD_DOCUMENTS: dict[str, Any] = {
    "no object": [1],
    "a text": "x",
    "nothing": {},
    "values of no kind": {"v": 4, "channel_values": [1], "channel_versions": "x", "versions_seen": [{}]},
    "versions of no kind": {"v": 4, "channel_versions": {"a": {"b": 1}, "c": None, "d": [1], "e": 1.5e300}},
    "seen of no kind": {"v": 4, "versions_seen": {"n": 5, "m": {"ch": [1]}}, "channel_versions": {"ch": 1}},
    "times of no kind": {"v": "four", "ts": 5, "id": None, "pending_sends": "x"},
    "very many channels": {
        "v": 4,
        "channel_values": {f"c{n}": n for n in range(3_000)},
        "channel_versions": {f"c{n}": 1 for n in range(7_000)},
    },
    "deep": {"v": 4, "channel_values": {"deep": json.loads("[" * 900 + "]" * 900)}},
    "wide": {"v": 4, "channel_values": {"wide": list(range(300_000))}},
}


@pytest.mark.parametrize("document", ODD_DOCUMENTS.values(), ids=ODD_DOCUMENTS)
async def test_every_page_is_shown_around_an_odd_document(
    odd: str, at: Callable[..., AsyncClient], document: Any
) -> None:
    execute(
        odd,
        "UPDATE checkpoints SET checkpoint = %s WHERE checkpoint_id = %s",
        json.dumps(document),
        head(odd),
    )
    await every_page(at(odd), odd)
    await every_dialog(at(odd), urlsplit(odd).path[1:], "tampered", head(odd))


async def test_json_of_ten_thousand_levels_is_marked(odd: str, at: Callable[..., AsyncClient]) -> None:
    document = '{"v": 4, "channel_values": {"deep": %s}}' % ("[" * 5_000 + "]" * 5_000)
    execute(odd, "UPDATE checkpoints SET checkpoint = %s, metadata = %s", document, document)
    _, timeline, checkpoint = await every_page(at(odd), odd)
    assert "nested deeper" in timeline.text
    assert "nested deeper" in checkpoint.text


async def test_metadata_of_a_million_characters_is_left_out(odd: str, at: Callable[..., AsyncClient]) -> None:
    grown = "jsonb_set(metadata, '{note}', to_jsonb(repeat('y', 1100000)))"
    execute(odd, f"UPDATE checkpoints SET metadata = {grown} WHERE checkpoint_id = '{head(odd)}'")
    listed, timeline, _ = await every_page(at(odd), odd)
    assert "y" * 1_000 not in listed.text + timeline.text


BLOBS: dict[str, tuple[str, bytes | None, str]] = {
    "rot": ("msgpack", b"\x81", "cannot be decoded"),
    "NULL": ("msgpack", None, "NULL"),
    "an odd type": ("<script>alert(1)</script>", b"x", "no LangGraph release writes this type"),
    "a long type": ("t" * 100_000, b"x", "no LangGraph release writes this type"),
    "a pickle": ("pickle", b"\x80\x05N.", "pickle"),
    "what is encrypted": ("msgpack+aes", b"x" * 40, "encrypted"),
    "too much": ("bytes", b"x" * (50 * MIB), "too large"),
}


@pytest.mark.parametrize(("type", "blob", "words"), BLOBS.values(), ids=BLOBS)
async def test_one_channel_is_marked_and_the_others_are_shown(
    odd: str, at: Callable[..., AsyncClient], type: str, blob: bytes | None, words: str
) -> None:
    change = "UPDATE checkpoint_blobs SET type = %s, blob = %s WHERE thread_id = 'tampered' AND channel = %s"
    execute(odd, change, type, blob, "order")
    _, timeline, checkpoint = await every_page(at(odd), odd)
    shown = {channel.one("h3").text.split()[0]: channel for channel in checkpoint.find("#state div.channel")}
    assert {"order", "messages", "point", "seen"} <= shown.keys()
    if type != "bytes":
        assert words in shown["order"].text
    assert "It was shipped." in shown["messages"].text
    assert "It was shipped." in timeline.text
    assert "alert(1)</script>" not in [script.text for script in checkpoint.find("script")]
    if len(blob or b"") < MIB:
        await every_dialog(at(odd), urlsplit(odd).path[1:], "tampered", head(odd))


async def test_a_channel_beyond_the_budget_of_a_page_is_marked_on_it(
    odd: str, at: Callable[..., AsyncClient]
) -> None:
    change = "UPDATE checkpoint_blobs SET type = 'bytes', blob = %s WHERE channel = 'messages'"
    execute(odd, change, b"x" * (2 * MIB))
    _, timeline, checkpoint = await every_page(at(odd), odd)
    assert [problem.text for problem in timeline.find("span.problem") if problem.text] == []
    assert "2.1 MB" in checkpoint.one("#state").text, "alone it is shown"


async def test_writes_of_any_kind_are_listed(odd: str, at: Callable[..., AsyncClient]) -> None:
    insert = "INSERT INTO checkpoint_writes VALUES ('tampered', '', %s, %s, %s, %s, %s, %s, %s)"
    for n, (kind, blob, _) in enumerate(BLOBS.values()):
        execute(odd, insert, head(odd), f"task {n}", n, "ch<b>annel", kind, blob or b"", "9" * 5_000)
    execute(odd, insert, head(odd), "no type", 0, "c", None, b"x", "")
    _, _, checkpoint = await every_page(at(odd), odd)
    assert len(checkpoint.find("section#writes div.write")) == len(BLOBS) + 1


async def test_many_writes_are_counted_and_bounded(odd: str, at: Callable[..., AsyncClient]) -> None:
    many = "SELECT 'tampered', '', %s, 't' || n, n, 'c', 'null', '', '' FROM generate_series(1, 25000) n"
    execute(odd, f"INSERT INTO checkpoint_writes {many}", head(odd))
    _, timeline, _ = await every_page(at(odd), odd)
    assert "Only 20,000 writes" in timeline.text


@pytest.mark.parametrize("key", [None, KEY])
async def test_encrypted_values_are_marked_or_read(
    database: str, at: Callable[..., AsyncClient], monkeypatch: pytest.MonkeyPatch, key: bytes | None
) -> None:
    with PostgresSaver.from_conn_string(database) as saver:
        saver.serde = EncryptedSerializer.from_pycryptodome_aes(serde=JsonPlusSerializer(), key=KEY)
        saver.setup()
        graphs.ask_order(saver, "tampered")
        graphs.joining(saver).invoke({"log": []}, graphs.config("good"))
    monkeypatch.setenv("LANGGRAPH_AES_KEY", key.decode()) if key else monkeypatch.delenv(
        "LANGGRAPH_AES_KEY", raising=False
    )
    listed, timeline, checkpoint = await every_page(at(database), database)
    assert ("It was shipped." in checkpoint.text) == bool(key)
    assert ("encrypted" in checkpoint.one("#state").text) == (not key)
    assert "not encrypted" not in timeline.text
    assert [state.text for state in listed.find("td.state span")] == ["idle", "idle"]


async def test_a_plain_value_among_encrypted_ones_is_marked(
    database: str, at: Callable[..., AsyncClient]
) -> None:
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        graphs.joining(saver).invoke({"log": []}, graphs.config("good"))
        graph = graphs.ask_order(saver, "tampered")
        saver.serde = EncryptedSerializer.from_pycryptodome_aes(serde=JsonPlusSerializer(), key=KEY)
        graph.update_state(graphs.config("tampered"), {"messages": []}, as_node="agent")
    base = f"/s/{urlsplit(database).path[1:]}/threads/"
    timeline = await load(at(database), f"{base}tampered/")
    marks = [[tag.text for tag in step.find("span.tag")] for step in timeline.find("a.step")]
    assert all("not encrypted" in tags for tags in marks)
