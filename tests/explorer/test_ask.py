"""The page on which a replay is asked for: what would happen, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from graphs import config
from langgraph.types import Command
from pages import Element, load
from replaying import claimed, ended, replays, told_of

if TYPE_CHECKING:
    from pathlib import Path

    from forkable import Forkable
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.usefixtures("app_database")


def choices(page: Element) -> dict[str, dict[str, str]]:
    """Return what may be asked for, with what the page says of each; the one that is chosen comes first."""
    found = sorted(page.find("section.kind"), key=lambda each: not each.find("input[checked]"))
    return {
        each.one("input[type=radio]")["value"]: {
            term.words: text.words for term, text in zip(each.find("dt"), each.find("dd"), strict=True)
        }
        for each in found
    }


async def sent(forkable: Forkable, url: str, **data: Any) -> Any:
    """Send the form of the page as a browser does that changes some fields."""
    form = (await load(forkable.browser, url)).one("form[method=post]")
    fields: dict[str, Any] = {
        field["name"]: field.attributes.get("value", "")
        for field in form.find("input[name]")
        if field.attributes.get("type") != "radio"
    }
    fields |= {area["name"]: area.text.removeprefix("\n") for area in form.find("textarea[name]")}
    fields |= {"kind": form.one("input[checked]")["value"]}
    for select in form.find("select[name]"):
        chosen = select.find("option[selected]") or select.find("option")
        fields[select["name"]] = chosen[0]["value"]
    return await forkable.browser.post(url, {**fields, **data})


async def test_an_interrupt_s_page_asks_for_the_answer_first(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    page = await load(forkable.browser, forkable.url("asking", head, "replay/"))
    said = choices(page)
    assert list(said) == ["resume", "replay", "input"]
    assert said["resume"] == {"runs": "ask, and what follows derived"}
    assert said["replay"]["asks again"] == '{question: "Approve the refund?", amount: 240}'
    assert said["input"]["left out"].startswith("ask")
    assert page.one(".answer .question").words == "Approve the refund? {amount: 240}"
    assert "for real" in page.find("p.notice")[0].words


async def test_what_has_finished_is_used_when_a_head_is_continued(forkable: Forkable) -> None:
    graph = forkable.graphs["joining"]
    [head] = [s for s in graph.get_state_history(config("joining")) if s.next == ("b1", "b2")]
    at = graph.update_state(head.config, None, as_node="__copy__")
    tasks = graph.get_state(at).tasks
    forkable.saver.put_writes(at, [("log", ["b1"])], tasks[0].id, "~__pregel_pull, b1")
    page = await load(
        forkable.browser, forkable.url("joining", at["configurable"]["checkpoint_id"], "replay/")
    )
    said = choices(page)
    assert list(said) == ["continue", "replay", "input"]
    assert said["continue"]["runs"] == "b2, and what follows derived"
    assert said["continue"]["not again"].startswith("b1")
    assert said["replay"]["runs"] == "b1, b2, and what follows derived"
    assert said["replay"]["again b1"].startswith("ran from here before")


async def test_an_older_checkpoint_is_replayed_and_one_at_the_end_gets_an_input(forkable: Forkable) -> None:
    ids = forkable.ids("joining")
    older = choices(await load(forkable.browser, forkable.url("joining", ids[2], "replay/")))
    assert list(older) == ["replay", "input"]
    assert older["replay"]["runs"] == "b1, b2, and what follows derived"
    assert older["replay"]["again"].startswith("ran from here before")
    end = choices(await load(forkable.browser, forkable.url("joining", ids[0], "replay/")))
    assert list(end) == ["input", "replay"]
    assert end["replay"]["runs"] == "nothing: the graph has ended here derived"


async def test_a_checkpoint_of_a_subgraph_can_be_replayed_alone(forkable: Forkable) -> None:
    with_inner = [
        row for row in forkable.saver.list(config("nested")) if row.config["configurable"]["checkpoint_ns"]
    ]
    at = with_inner[0].config["configurable"]
    url = forkable.url("nested", at["checkpoint_id"], "replay/", ns=at["checkpoint_ns"])
    page = await load(forkable.browser, url)
    assert list(choices(page)) == ["replay"]
    assert (await sent(forkable, url)).status_code == 303
    [made] = await replays()
    assert made.given["parents"][""] == forkable.ids("nested")[0]


async def test_a_request_is_kept_with_all_that_was_said(forkable: Forkable) -> None:
    await told_of(forkable)
    [head, *_] = forkable.ids("asking")
    url = forkable.url("asking", head, "replay/")
    answer = await sent(
        forkable, url, answer="yes\r\nplease", reason="the customer called", author="ana", step_limit="9"
    )
    [made] = await replays()
    assert (answer.status_code, answer["Location"]) == (303, f"/replays/{made.id}/")
    assert made.given["answers"] == {"": "yes\nplease"}
    assert made.given["metadata"] == made.given["configurable"] == {"user_id": "ben"}
    assert (made.kind, made.graph, made.head, made.former) == ("resume", "asking", head, head)
    assert (made.reason, made.author, made.step_limit, made.step) == ("the customer called", "ana", 9, 1)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"answer": '{"ok": [1]}', "answer_as": "json"}, {"ok": [1]}),
        ({"answer": "1"}, "1"),
        ({"answer": "null", "answer_as": "json"}, None),  # which LangGraph takes by the interrupt's id alone
        ({"answer": "{}", "answer_as": "json"}, {}),
    ],
)
async def test_an_answer_is_text_or_json(given: dict[str, str], kept: Any, forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    await sent(forkable, forkable.url("asking", head, "replay/"), **given)
    [made] = await replays()
    [waits] = forkable.graphs["asking"].get_state(config("asking")).interrupts
    assert made.given["answers"] == {"" if kept else waits.id: kept}


async def test_several_interrupts_are_answered_by_their_ids(forkable: Forkable) -> None:
    from graphs import fan_out

    graph = fan_out(forkable.saver)
    graph.invoke({"log": [], "n": 1}, config("fan"))
    [waits] = graph.get_state(config("fan")).interrupts
    forkable.saver.put_writes(
        graph.get_state(config("fan")).config,
        [("__interrupt__", (type(waits)(value="and two?", id="f" * 32),))],
        "00000000-0000-0000-0000-000000000002",
        "~__pregel_push, 2, 0",
    )
    [head, *_] = forkable.ids("fan")
    url = forkable.url("fan", head, "replay/")
    page = await load(forkable.browser, url)
    ids = [field["value"] for field in page.find("input[name=interrupt]")]
    assert set(ids) == {waits.id, "f" * 32}
    answer = await sent(forkable, url, interrupt=ids, answer=["", "two"], answer_as=["text", "text"])
    assert answer.status_code == 303
    [made] = await replays()
    assert made.given["answers"] == {ids[1]: "two"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"answer": ""}, "An answer is missing."),
        ({"answer": "{", "answer_as": "json"}, "The answer is no JSON: "),
        ({"answer": "NaN", "answer_as": "json"}, "The answer is no JSON: NaN is no number of JSON."),
        ({"kind": "input"}, "An input is missing."),
        ({"kind": "input", "input_json": "[1,"}, "The input is no JSON: "),
        ({"kind": "continue"}, "Nothing has been left unfinished here."),
        ({"answer": "1e999", "answer_as": "json"}, "A number of JSON is finite."),
        ({"answer": "[" * 5_000 + "]" * 5_000, "answer_as": "json"}, "nested too deeply"),
        ({"answer": "x", "graph": ""}, "No graph is chosen."),
        ({"answer": "x", "configurable_json": '{"checkpoint_id": "1"}'}, "cannot be configured"),
        ({"answer": "x", "configurable_json": '{"__pregel_resuming": 1}'}, "cannot be configured"),
        ({"answer": "x", "configurable_json": "[]"}, "The configuration is no object of JSON."),
        ({"answer": "x", "graph": "other"}, "No worker has a graph &#x27;other&#x27;."),
        ({"answer": "x", "graph": "chat"}, "The graph &#x27;chat&#x27; has no node ask, which is next here."),
        ({"answer": "x\0"}, "cannot be kept"),
        ({"answer": "x", "step_limit": "0"}, "greater than or equal to 1"),
        ({"answer": "x", "seconds_limit": "99999"}, "less than or equal to 21600"),
    ],
)
async def test_what_cannot_be_asked_is_refused_and_what_was_typed_stays(
    data: dict[str, str], said: str, forkable: Forkable
) -> None:
    await told_of(forkable)
    [head, *_] = forkable.ids("asking")
    answer = await sent(
        forkable, forkable.url("asking", head, "replay/"), reason="because I typed it", **data
    )
    assert answer.status_code == 422
    html = answer.content.decode()
    assert said in html
    assert "because I typed it" in html
    if "answer_as" not in data and "answer" in data:
        assert f">\n{data['answer']}</textarea>" in html
    assert await replays() == []


async def test_a_checkpoint_that_has_changed_meanwhile_is_refused(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    url = forkable.url("asking", head, "replay/")
    form = (await load(forkable.browser, url)).one("form[method=post]")
    basis = form.one("input[name=basis]")["value"]
    forkable.saver.put_writes(config_of("asking", head), [("log", ["more"])], "0" * 8, "~__pregel_pull, ask")
    answer = await sent(forkable, url, basis=basis, answer="x")
    assert answer.status_code == 409
    assert "The checkpoint has changed since this form was made." in answer.content.decode()
    assert await replays() == []


def config_of(thread: str, id: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": id}}


async def test_nothing_is_asked_where_nothing_may_be_written(
    forkable: Forkable, settings: SettingsWrapper
) -> None:
    [head, *_] = forkable.ids("asking")
    url = forkable.url("asking", head, "replay/")
    settings.EXPLORER_READ_ONLY = True
    page = await load(forkable.browser, url)
    assert "read-only" in page.one("p.notice").words
    assert page.find("form[method=post]") == []
    answer = await forkable.browser.post(url, {"kind": "replay", "step_limit": 1, "seconds_limit": 1})
    assert answer.status_code == 403
    inspector = await load(forkable.browser, forkable.url("asking", head))
    assert not [link for link in inspector.find(".actions a") if "replay/" in link["href"]]


async def test_a_graph_that_cannot_be_imported_is_shown_and_not_offered(forkable: Forkable) -> None:
    await told_of(
        forkable, broken={"where": "b.py:g", "problem": "KeyError: <b>", "traceback": "line 1\nline 2"}
    )
    [head, *_] = forkable.ids("asking")
    page = await load(forkable.browser, forkable.url("asking", head, "replay/"))
    options = [option["value"] for option in page.find("select[name=graph] option")]
    assert options == ["asking", "broken", "chat", "joining", "*"]
    assert "disabled" in page.one("select[name=graph] option[value=broken]").attributes
    assert page.one("select[name=graph] option[selected]")["value"] == "asking"
    shown = page.one("details.broken")
    assert "KeyError: <b>" in shown.words
    assert shown.one("pre").text == "line 1\nline 2"


async def test_without_a_graph_the_request_waits_for_a_worker_of_one_s_own(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    url = forkable.url("asking", head, "replay/")
    page = await load(forkable.browser, url)
    assert "No worker that has a graph for this store is running" in page.find("p.notice")[-1].words
    assert page.one("button.primary").words == "Queue it"
    answer = await sent(forkable, url, answer="x")
    shown = await load(forkable.browser, answer["Location"])
    assert "it waits for a worker of your own to claim it" in shown.one("#progress .notice").words


async def test_a_message_is_an_input_where_the_thread_is_a_conversation(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("chat")
    url = forkable.url("chat", head, "replay/", kind="input")
    assert (await sent(forkable, url, message="And the lid?")).status_code == 303
    [made] = await replays()
    assert made.given["input"] == {"messages": [{"role": "user", "content": "And the lid?"}]}
    asking = await load(forkable.browser, forkable.url("asking", forkable.ids("asking")[0], "replay/"))
    assert asking.find("textarea[name=message]") == []
    await sent(forkable, url, message="And the lid?", input_json='{"big": "x"}')
    assert (await replays())[1].given["input"] == {"big": "x", **made.given["input"]}
    answer = await sent(forkable, url, message="And the lid?", input_json='{"messages": []}')
    assert "The message cannot be added to this input." in answer.content.decode()


async def test_a_form_that_is_sent_twice_asks_once(forkable: Forkable) -> None:
    url = forkable.url("joining", forkable.ids("joining")[2], "replay/")
    form = (await load(forkable.browser, url)).one("form[method=post]")
    id = form.one("input[name=id]")["value"]
    first, second = await sent(forkable, url, id=id), await sent(forkable, url, id=id)
    assert first["Location"] == second["Location"] == f"/replays/{id}/"
    assert len(await replays()) == 1


async def test_the_same_is_asked_again_from_a_form_that_is_filled_in(forkable: Forkable) -> None:
    await told_of(forkable)
    url = forkable.url("asking", forkable.ids("asking")[0], "replay/")
    given = {"answer": '{"ok": 1}', "answer_as": "json", "reason": "why", "step_limit": "7"}
    await sent(forkable, url, **given, configurable_json='{"a": "b"}')
    [old] = await replays()
    page = await load(forkable.browser, f"{url}?again={old.id}")
    assert page.one("textarea[name=answer]").words == '{ "ok": 1 }'
    assert (await sent(forkable, f"{url}?again={old.id}")).status_code == 303
    [_, new] = await replays()
    assert (new.given, new.step_limit, new.reason) == (old.given, 7, "why")
    assert new.again_of_id == old.id
    assert (await load(forkable.browser, f"{url}?again=nonsense")).one("input[name=reason]")["value"] == ""


async def test_a_rotten_checkpoint_can_be_asked_nothing(forkable: Forkable, tmp_path: Path) -> None:
    if not str(forkable.place).endswith(".sqlite"):
        return
    [head, *_] = forkable.ids("asking")
    with closing(sqlite3.connect(forkable.place)) as conn, conn:
        conn.execute("UPDATE checkpoints SET checkpoint = x'c1' WHERE checkpoint_id = ?", [head])
    page = await load(forkable.browser, forkable.url("asking", head, "replay/"))
    assert page.one("p.notice.bad").words.startswith("Nothing can be run from here.")
    answer = await forkable.browser.post(
        "/s/forkable/threads/asking/replays/",
        json.dumps({"kind": "replay"}),
        content_type="application/json",
    )
    assert answer.status_code == 422


async def test_the_checkpoint_and_its_replays_lead_to_each_other(forkable: Forkable) -> None:
    await told_of(forkable)
    ids = forkable.ids("joining")
    await sent(forkable, forkable.url("joining", ids[2], "replay/"))
    [made] = await replays()
    page = await load(forkable.browser, forkable.url("joining", ids[2]))
    assert f"/replays/{made.id}/" in [link["href"] for link in page.find("#inspector dl.facts a")]
    run = await claimed(made)
    graph = forkable.graphs["joining"]
    graph.invoke(None, {**config("joining", replay_id=str(made.id)), **config_of("joining", ids[2])})
    new = forkable.ids("joining")[0]
    await ended(run, "succeeded", {"type": "checkpoint", "id": new, "ns": "", "step": 9, "source": "loop"})
    shown = await load(forkable.browser, f"/replays/{made.id}/")
    assert [row.words for row in shown.find("table.beside tbody tr")]
    assert shown.one("#outcome").words == "Before, and in this replay"


async def test_an_interrupt_that_was_answered_can_be_answered_otherwise(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    forkable.graphs["asking"].invoke(Command(resume="yes"), config("asking"))
    page = await load(forkable.browser, forkable.url("asking", head, "replay/"))
    assert list(choices(page)) == ["replay", "input"]  # it does not wait any more
    assert choices(page)["replay"]["asks again"] == '{question: "Approve the refund?", amount: 240}'
