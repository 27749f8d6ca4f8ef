"""Replays of the demo's threads, asked for on the pages and run by a worker, beside LangGraph itself."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from django.test import AsyncClient
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.types import Command
from pages import load
from test_as_langgraph import checkpoints_of, story

from explorer.database.threads import in_database
from explorer.demo.graphs import research, support
from explorer.models import Replay

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import World
    from pytest_django.fixtures import SettingsWrapper

TOKEN = "token-of-the-tests"
MODULE = "explorer.demo.graphs"
IDS = re.compile(r"(lc_run--)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(-\d+)?|\b[0-9a-f]{32}\b")
THREADS = {
    "refund-1043": support,  # waits for an answer
    "payment-1049": support,  # failed
    "report-q4": research,  # waits in a subgraph
}


@pytest.fixture
def demo(in_file: World, demo_store: Path, settings: SettingsWrapper) -> World:
    shutil.copy(demo_store, in_file.place)
    shutil.copy(demo_store, in_file.folder / "direct.sqlite")
    settings.EXPLORER_TOKEN = TOKEN
    return in_file


async def asked(client: AsyncClient, thread: str, id: str, **data: Any) -> Replay:
    """Ask on the page of a checkpoint, and wait for the end."""
    url = f"/s/store/threads/{thread}/checkpoints/{id}/replay/"
    form = (await load(client, url)).one("form[method=post]")
    fields = {field["name"]: field.attributes.get("value", "") for field in form.find("input[name]")}
    graph = form.one("select[name=graph] option[selected]")["value"]
    answer = await client.post(url, {**fields, "graph": graph, "configurable_json": "", **data})
    assert answer.status_code == 303, answer.content.decode()
    id = answer["Location"].split("/")[2]
    for _ in range(600):
        found = await in_database(lambda: Replay.objects.get(id=id))
        if found.ended_at:
            return found
        await asyncio.sleep(0.1)
    raise TimeoutError(found.state)


def directly(path: Path, thread: str, given: Any, id: str = "") -> str:
    configurable = {"thread_id": thread, **({"checkpoint_id": id} if id else {})}
    with closing(sqlite3.connect(path, check_same_thread=False)) as conn:
        graph = THREADS[thread].copy(update={"checkpointer": OfficialSaver(conn)})
        try:
            graph.invoke(given, {"configurable": configurable}, durability="sync")
        except RuntimeError:  # the demo's payment provider
            return "failed"
        return "interrupted" if graph.get_state({"configurable": {"thread_id": thread}}).next else "succeeded"


def told(path: Any, thread: str) -> list[str]:
    found = []
    with closing(sqlite3.connect(path, check_same_thread=False)) as conn:
        for ns in dict(checkpoints_of(path, thread)):
            at: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}
            found.append(f"{ns}: {story(reversed(list(OfficialSaver(conn).list(at))))}")
    # Where messages are streamed, they get their ids before they are stored as writes, and not after.
    return sorted(re.sub(r",? ?id=\\*'ID\\*'", "", IDS.sub("ID", each)) for each in found)


@pytest.mark.parametrize("thread", THREADS)
async def test_each_checkpoint_of_a_thread_is_replayed_as_langgraph_does_it(thread: str, demo: World) -> None:
    demo.process(
        "worker", demo.place, *(f"--graph={name}={MODULE}:{name}" for name in ("support", "research"))
    )
    client, direct = AsyncClient(), demo.folder / "direct.sqlite"
    await client.get("/", {"token": TOKEN})
    ids = [id for ns, id in checkpoints_of(direct, thread) if ns == ""]
    page = f"/s/store/threads/{thread}/checkpoints/{ids[0]}/replay/"
    for _ in range(300):
        if "support · agent" in (await load(client, page)).words:
            break
        await asyncio.sleep(0.1)
    for id in ids:
        expected = await asyncio.to_thread(directly, direct, thread, None, id)
        done = await asked(client, thread, id, kind="replay")
        assert done.state == expected, done.error
        assert told(demo.place, thread) == told(direct, thread)
    if thread == "refund-1043":
        await goes_on(client, demo, direct, thread)


async def goes_on(client: AsyncClient, demo: World, direct: Path, thread: str) -> None:
    """Answer the newest question, and give the thread a new input."""
    head = max(id for ns, id in checkpoints_of(demo.place, thread) if ns == "")
    await asyncio.to_thread(directly, direct, thread, Command(resume="approve"))
    done = await asked(client, thread, head, kind="resume", answer="approve", answer_as="text")
    assert done.state == "succeeded"
    given = {"messages": [{"role": "user", "content": "And the lid?"}]}
    await asyncio.to_thread(directly, direct, thread, given)
    done = await asked(client, thread, done.made, kind="input", message="And the lid?")
    assert done.state == "succeeded"
    assert told(demo.place, thread) == told(direct, thread)
