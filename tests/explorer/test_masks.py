"""What is masked for a role reaches nobody of that role, by any route."""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from graphs import config, official_saver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from named_stores import places
from pages import load
from people_at import browser_of, serve_to_users
from test_roles import routes

from checkpoints.masking import MASKED, NO_MASKS, Masks
from checkpoints.selection import select
from explorer import stores, tilde
from explorer.database.threads import in_database
from explorer.deletions import plans
from explorer.finding import wanted
from explorer.forms import FindForm
from explorer.people import masks
from explorer.people.roles import Person
from explorer.people.routes import needs
from explorer.replays import requests
from explorer.replays.requests import Request

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator
    from pathlib import Path

    from django.test import AsyncClient
    from langchain_core.runnables import RunnableConfig
    from pytest_django.fixtures import SettingsWrapper

MARKER = "m4sk-me"
SEEN = "for-everybody"
MASKS = ("support:messages,metadata.email", "developer:messages, metadata.email", "viewer:messages")


class State(TypedDict, total=False):
    messages: Annotated[list[Any], add]
    log: list[str]


def write(place: Any) -> None:
    """Write a thread that has the marker wherever LangGraph keeps something of its messages."""
    with official_saver(place) as saver:
        graph: Any = StateGraph(State)
        graph.add_node("plan", lambda state: {"log": [SEEN], "messages": [("user", MARKER)]})
        graph.add_node("send", _send)
        graph.add_edge(START, "plan")
        graph.add_conditional_edges(
            "plan", lambda state: [Send("send", {"messages": [MARKER, n]}) for n in range(3)], ["send"]
        )
        graph.add_edge("send", END)
        run = graph.compile(checkpointer=saver)
        with pytest.raises(ValueError, match=MARKER):
            run.invoke({"messages": [MARKER]}, config("failed", email=MARKER, team=SEEN, fails=True))
        run.invoke({"messages": [MARKER]}, config("waits", email=MARKER, team=SEEN))
        found = saver.get_tuple(config("waits"))
        metadata = {"source": "loop", "step": 9, "writes": {"plan": {"messages": [MARKER]}}, "email": MARKER}
        checkpoint = {**found.checkpoint, "pending_sends": []}
        at = {"configurable": {"thread_id": "old", "checkpoint_ns": ""}}
        saver.put(at, checkpoint, metadata, checkpoint["channel_versions"])


def _send(state: State, config: RunnableConfig) -> State:
    if state["messages"][1] == 0 and config["metadata"].get("fails"):
        raise ValueError(MARKER)
    if state["messages"][1] == 1:
        interrupt({"ask": MARKER})
    return {"messages": [MARKER]}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[Path | str]:
    for place in places("masked", request):
        write(place)
        yield place


@pytest.fixture
async def replay(store: Path | str, settings: SettingsWrapper, app_database: Path) -> uuid.UUID:
    """A replay that has ended, with the marker in all that it was given and has said."""
    serve_to_users(settings)
    settings.EXPLORER_STORES, settings.EXPLORER_MASKS = (str(store),), MASKS
    return await in_database(_replayed)


def _replayed() -> uuid.UUID:
    given = {"input": {"messages": MARKER}, "configurable": {"email": MARKER}, "answers": {"": MARKER}}
    asked = requests.ask(
        Request(stores.key(stores.located("masked")), "waits", "", "1f0c", 1, "resume", "", given)
    )
    held = requests.claim(asked.id, "w")
    assert held
    events = [
        {"type": "started", "task": "1", "node": "plan", "ns": ""},
        {"type": "text", "ns": "", "message": "m", "node": "plan", "text": MARKER},
        {"type": "custom", "ns": "", "text": MARKER},
        {"type": "finished", "task": "1", "node": "plan", "ns": "", "error": MARKER, "seconds": 1.0},
    ]
    end = {"state": "failed", "error": MARKER, "traceback": MARKER}
    assert requests.end(held, end, events, MARKER)
    return asked.id


async def checkpoints(client: AsyncClient, thread: str) -> list[str]:
    page = await load(client, f"/s/masked/threads/{thread}/?density=everything")
    return [row["data-id"] for row in page.find("[data-id]")] or [
        tilde.decode(link["href"].split("/checkpoints/")[1].split("/")[0])
        for link in page.find("a[href]")
        if "/checkpoints/" in link["href"]
    ]


QUERIES = (
    "",
    "?density=everything",
    "?channel=messages",
    "?channel=messages&part=delta",
    "?part=metadata",
    "?part=metadata&channel=messages&path=1",
    "?channel=__start__",
    "?channel=__pregel_tasks",
    "?download=1",
    "?measure=1",
    "?kind=resume",
    "?meta=team=for-everybody",
)


async def a_plan() -> uuid.UUID:
    """Plan to delete what was found by the value that is masked."""
    location, person = stores.located("masked"), Person.of_system_user()
    asked = wanted(person, {**dict.fromkeys(FindForm.base_fields), "meta": f"email={MARKER}"})
    assert asked
    found = await select(location, asked.criteria)
    return (await in_database(plans.keep, location, found.threads, asked.words, person)).id


async def targets(client: AsyncClient, replay: uuid.UUID) -> list[str]:
    """Return the addresses of every route that is read, for each thread and checkpoint."""
    found, planned = ["/s/masked/find/?every=1"], await a_plan()
    for route in routes():
        pattern = f"/{route.pattern}".replace("<slug:store>", "masked")
        pattern = pattern.replace("<uuid:replay>", str(replay)).replace("<uuid:deletion>", str(planned))
        if "GET" not in (needs(route.callback) or {}) or route.name == "logout":
            continue
        for thread in ("failed", "waits", "old"):
            with_thread = pattern.replace("<tilde:thread>", thread)
            for id in await checkpoints(client, thread) if "<tilde:checkpoint_id>" in pattern else [""]:
                found.append(with_thread.replace("<tilde:checkpoint_id>", tilde.encode(id)))
    assert not any("<" in each for each in found)
    return sorted(set(found))


async def compared(client: AsyncClient) -> list[str]:
    """Return the addresses of comparisons, and of each pending write's value."""
    ids = await checkpoints(client, "waits")
    found = [f"/s/masked/compare/?thread=waits&id={one}&with_id={ids[0]}" for one in ids]
    for thread in ("waits", "failed"):
        for id in await checkpoints(client, thread):
            base = f"/s/masked/threads/{thread}/checkpoints/{tilde.encode(id)}/"
            raw = (await client.get(f"{base}raw/?download=1")).json()
            tasks = {write["task_id"] for write in raw["pending_writes"]}
            found += [
                f"{base}value/?part=writes&task={task}&idx={idx}" for task in tasks for idx in range(-4, 4)
            ]
    return found


@pytest.mark.parametrize("role", ["support", "developer"])
async def test_no_route_shows_what_is_masked(role: str, replay: uuid.UUID) -> None:
    client, admin = await browser_of(role), await browser_of("admin")
    leaks, shown = [], 0
    for base in [*await targets(admin, replay), *await compared(admin)]:
        for query in ("",) if "?" in base else QUERIES:
            for headers in ({}, {"hx-request": "true"}):
                answer = await client.get(f"{base}{query}", headers=headers)
                text = await read(answer)
                shown += SEEN in text
                leaks += [f"{base}{query}"] if MARKER in text else []
    assert leaks == []
    assert shown > 20


async def read(answer: Any) -> str:
    if answer.streaming:
        return "".join([part.decode() async for part in answer.streaming_content])
    return str(answer.content.decode())


async def test_an_admin_sees_all_of_it_and_so_does_who_has_a_role_without_masks(replay: uuid.UUID) -> None:
    admin = await browser_of("admin")
    assert MARKER in (await admin.get(f"/replays/{replay}/")).content.decode()
    [id, *_] = await checkpoints(admin, "waits")
    assert MARKER in (await admin.get(f"/s/masked/threads/waits/checkpoints/{id}/")).content.decode()
    assert masks.of(("support", "admin")) == masks.of(("admin",)) == NO_MASKS
    assert masks.of(("support", "viewer")) == Masks(frozenset({"messages"}))


async def test_it_says_that_something_is_masked(replay: uuid.UUID) -> None:
    client = await browser_of("support")
    [id, *_] = await checkpoints(client, "waits")
    page = await client.get(f"/s/masked/threads/waits/checkpoints/{id}/")
    assert MASKED in page.content.decode()
    raw = (await client.get(f"/s/masked/threads/waits/checkpoints/{id}/raw/?download=1")).json()
    assert raw["checkpoint"]["channel_values"]["messages"].startswith("(masked, version ")
    assert raw["metadata"]["email"] == MASKED
    assert raw["metadata"]["team"] == SEEN


async def test_nobody_finds_threads_to_delete_by_a_masked_key(replay: uuid.UUID) -> None:
    client = await browser_of("support")
    found = {"meta": f"email={MARKER}", "which": "all"}
    assert (await client.get("/s/masked/find/", found)).status_code == 403
    assert (await client.post("/s/masked/deletions/", found)).status_code == 403
    assert (await client.get("/s/masked/find/", {"meta": f"team={SEEN}"})).status_code == 200


@pytest.mark.parametrize("query", [f"email={MARKER}", "email=x", 'writes="{}"', f"email.x={MARKER}"])
async def test_a_masked_key_cannot_be_searched_by(query: str, replay: uuid.UUID) -> None:
    client = await browser_of("support")
    refused = await client.get("/s/masked/threads/", {"q": query})
    assert refused.status_code == 403
    assert "is masked for you, so it cannot be searched by" in refused.content.decode()
    assert (await client.get("/s/masked/threads/", {"q": f"team={SEEN}"})).status_code == 200


async def test_who_sees_less_takes_nothing_elsewhere(replay: uuid.UUID) -> None:
    client = await browser_of("developer")
    [id, *_] = await checkpoints(client, "waits")
    base = f"/s/masked/threads/waits/checkpoints/{id}/"
    for target in (f"{base}replay/", "/api/replays/", f"{base}edit/?channel=messages"):
        assert (await client.get(target)).status_code == 403
    page = await load(client, base)
    assert not page.find("a[data-key=r]")
    assert page.find("a[data-key=e]")
    choices = await load(client, f"{base}edit/")
    assert {box["value"] for box in choices.find("input[type=checkbox]")} == {"log"}


async def test_a_page_is_not_remembered_for_who_sees_less(replay: uuid.UUID) -> None:
    admin, client = await browser_of("admin"), await browser_of("support")
    for _ in range(2):
        assert MARKER in (await admin.get("/s/masked/threads/waits/")).content.decode()
        assert MARKER not in (await client.get("/s/masked/threads/waits/")).content.decode()


def test_keys_within_keys_are_masked() -> None:
    found = Masks(metadata=frozenset({"user.email", "a"})).of_metadata(
        {"user": {"email": 1, "name": 2}, "a": {"b": 3}, "user.email": 4, "c": 5}
    )
    assert found == {"user": {"email": MASKED, "name": 2}, "a": MASKED, "user.email": MASKED, "c": 5}
