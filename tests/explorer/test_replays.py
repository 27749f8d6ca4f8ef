"""The list of replays, and asking for one over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from graphs import AWKWARD, ask_order
from pages import following, load
from replaying import claimed, ended, replays, told_of

from checkpoints.stores import Location
from explorer import stores, tilde
from explorer.database.threads import in_database
from explorer.replays.requests import Request, ask

if TYPE_CHECKING:
    from django.test import AsyncClient
    from forkable import Forkable

pytestmark = pytest.mark.usefixtures("app_database")
TOKEN = "token-of-the-tests"


async def filled(forkable: Forkable, number: int) -> None:
    key = stores.key(Location.parse(str(forkable.place)))

    def fill() -> None:
        for at in range(number):
            given: dict[str, Any] = {"step": at, "kind": "replay", "graph": "asking", "given": {}}
            thread = ("asking", AWKWARD)[at % 2]
            ask(
                Request(
                    key, thread, "", "1f0c", author=("ana", "ben")[at % 2], reason=f"<b>{at}</b>", **given
                )
            )

    await in_database(fill)


async def rows(forkable: Forkable, **query: str) -> list[str]:
    page = await load(forkable.browser, "/replays/?" + "&".join(f"{k}={v}" for k, v in query.items()))
    return [row.words for row in page.find("table.replays tbody tr")]


async def test_all_replays_are_listed_newest_first_in_pages(forkable: Forkable) -> None:
    empty = await load(forkable.browser, "/replays/")
    assert empty.one(".empty h2").words == "No replay was asked for yet"
    await filled(forkable, 105)
    seen = []
    async for page in following(forkable.browser, "/replays/"):
        seen += [row.one(".why").words for row in page.find("table.replays tbody tr")]
    assert seen == [f"<b>{at}</b>" for at in reversed(range(105))]


async def test_they_are_filtered_by_state_store_thread_and_person(forkable: Forkable) -> None:
    await filled(forkable, 4)
    run = await claimed((await replays())[0])
    await ended(run, "failed", error="KeyError: <x>")
    assert len(await rows(forkable)) == 4
    assert len(await rows(forkable, by="ana")) == 2
    [failed] = await rows(forkable, state="failed")
    assert "KeyError: <x>" in failed
    assert len(await rows(forkable, state="queued", by="ben")) == 2
    assert len(await rows(forkable, store="forkable", thread=tilde.encode(AWKWARD))) == 2
    assert len(await rows(forkable, thread="asking")) == 2
    assert len(await rows(forkable, thread="nobody")) == 0
    assert len(await rows(forkable, state="nonsense", before="x_y")) == 4
    of_thread = await load(forkable.browser, "/s/forkable/threads/asking/replays/")
    assert len(of_thread.find("table.replays tbody tr")) == 2
    timeline = await load(forkable.browser, "/s/forkable/threads/asking/")
    [href] = [link["href"] for link in timeline.find("header.head a") if link.words == "Replays"]
    assert len((await load(forkable.browser, href)).find("table.replays tbody tr")) == 2


async def posted(forkable: Forkable, thread: str, content: Any, **headers: str) -> Any:
    return await forkable.browser.post(
        f"/s/forkable/threads/{tilde.encode(thread)}/replays/",
        json.dumps(content),
        content_type="application/json",
        headers=headers,
    )


async def test_a_replay_is_asked_for_over_http(forkable: Forkable) -> None:
    await told_of(forkable)
    head = forkable.ids("asking")[0]
    asked = {"kind": "resume", "answer": {"ok": True}, "graph": "asking", "reason": "r", "author": "a"}
    answer = await posted(forkable, "asking", asked)
    [made] = await replays()
    assert (answer.status_code, answer["Location"]) == (201, f"/replays/{made.id}/")
    told = answer.json()
    assert (told["id"], told["state"], told["checkpoint_id"]) == (str(made.id), "queued", head)
    assert (told["resume"], told["head"], told["store"]) == ({"ok": True}, head, "forkable")
    assert told["config"]["configurable"]["user_id"] == "ben"


async def test_the_fields_of_a_form_do_as_well(forkable: Forkable) -> None:
    id = forkable.ids("joining")[2]
    url = "/s/forkable/threads/joining/replays/"
    answer = await forkable.browser.post(
        url, {"checkpoint_id": id, "kind": "input", "input": '{"log": ["x"]}', "step_limit": "7"}
    )
    [made] = await replays()
    assert (answer.status_code, answer.content.decode()) == (201, f"/replays/{made.id}/\n")
    assert (made.given["input"], made.step_limit, made.checkpoint_id) == ({"log": ["x"]}, 7, id)
    answer = await forkable.browser.post(url, {"kind": "replay"}, headers={"accept": "application/json"})
    assert answer.json()["kind"] == "replay"


async def test_what_does_not_say_that_it_is_json_asks_for_nothing(forkable: Forkable) -> None:
    url, body = "/s/forkable/threads/asking/replays/", '{"kind": "resume", "answer": "yes"}'
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
        answer = await forkable.browser.post(url, body, content_type=kind)
        assert answer.status_code == 400, kind
    assert await replays() == []


async def test_a_thread_of_any_id_is_addressed(forkable: Forkable) -> None:
    ask_order(forkable.saver, AWKWARD)
    answer = await posted(forkable, AWKWARD, {"kind": "input", "input": {"messages": []}})
    assert answer.status_code == 201
    assert (await replays())[0].thread_id == AWKWARD


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        ({"kind": "nonsense"}, 422, "cannot be asked"),
        ({}, 400, "The kind is missing."),
        ({"kind": "replay", "grph": "asking"}, 400, "There is no field 'grph'."),
        ({"kind": "input", "input": {"x": float("nan")}}, 400, "no JSON"),
        ({"kind": "replay", "checkpoint_id": "\ud800"}, 400, "checkpoint_id has a character"),
        ({"kind": "resume"}, 422, "An answer is missing."),
        ({"kind": "resume", "answers": {"0" * 32: 1, "1" * 32: 2}}, 422, "No interrupt"),
        ({"kind": "replay", "graph": "other"}, 422, "No worker has a graph 'other'."),
        ({"kind": 3}, 400, "kind is no text."),
        ({"kind": "replay", "step_limit": "many"}, 422, "step_limit is no number"),
        ({"kind": "replay", "step_limit": True}, 422, "step_limit is no number"),
        ({"kind": "replay", "seconds_limit": 10**9}, 422, "seconds_limit is no number"),
        ({"kind": "replay", "configurable": []}, 422, "configurable is no object"),
        ({"kind": "replay", "reason": "\ud800"}, 400, "cannot be kept"),
        ({"kind": "replay", "checkpoint_id": "1f0c-missing"}, 404, "checkpoint"),
        ([], 400, "no object of JSON"),
    ],
)
async def test_a_bad_request_is_refused_in_json(
    content: Any, status: int, said: str, forkable: Forkable
) -> None:
    answer = await posted(forkable, "asking", content)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert await replays() == []


async def test_a_program_comes_with_the_token_and_a_foreign_page_with_nothing(
    visitor: AsyncClient, forkable: Forkable
) -> None:
    from django.test import AsyncClient

    url, kind = "/s/forkable/threads/asking/replays/", "application/json"
    strict = AsyncClient(enforce_csrf_checks=True)
    body = '{"kind": "replay"}'
    assert (await strict.post(url, body, content_type=kind)).status_code == 403
    wrong = {"authorization": "Bearer wrong"}
    assert (await strict.post(url, body, content_type=kind, headers=wrong)).status_code == 403
    right = {"authorization": f"Bearer {TOKEN}"}
    assert (await strict.post(url, body, content_type=kind, headers=right)).status_code == 201
    await strict.get("/", {"token": TOKEN})
    assert (
        await strict.post(url, body, content_type=kind)
    ).status_code == 403  # a cookie alone is no consent


async def test_a_list_that_nobody_can_read_is_an_error_of_its_own(
    forkable: Forkable, app_database: Any
) -> None:
    app_database.unlink()
    for suffix in ("-wal", "-shm"):
        app_database.with_name(app_database.name + suffix).unlink(missing_ok=True)
    app_database.mkdir()
    answer = await forkable.browser.get("/replays/")
    assert answer.status_code == 503
    assert "own database cannot be used" in answer.content.decode()
    head = forkable.ids("asking")[0]
    assert (await forkable.browser.get(forkable.url("asking", head))).status_code == 200
