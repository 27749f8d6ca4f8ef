"""Editing values of a checkpoint: chosen, typed, looked over, and stored as a fork."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from django.test import AsyncClient
from graphs import Order, config
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from pages import Element, load, parse

from checkpoints.errors import StoreBusy
from checkpoints.forking import afork

if TYPE_CHECKING:
    from forkable import Forkable
    from pytest_django.fixtures import SettingsWrapper


def extend(state: list[str], writes: list[list[str]]) -> list[str]:
    return [*state, *(item for write in writes for item in write)]


class Story(TypedDict):
    story: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=100)]


def editor(page: Element) -> Element:
    return next(form for form in page.find("form[method=post]") if form.find("textarea"))


def typed(page: Element) -> list[str]:
    return [area.text.removeprefix("\n") for area in page.find("textarea")]


async def open_editor(forkable: Forkable, thread_id: str, channel: str) -> tuple[str, Element]:
    url = forkable.url(thread_id, forkable.ids(thread_id)[0], "edit/", channel=channel)
    return url, await load(forkable.browser, url)


async def send(forkable: Forkable, url: str, page: Element, action: str, *texts: str, **data: str) -> Element:
    text = {"text": list(texts)} if texts else {}
    answer = await forkable.post(url, editor(page), action=action, **data, **text)
    assert answer.status_code in (200, 422), answer.status_code
    return parse(answer.content.decode())


async def test_channels_are_chosen_first(forkable: Forkable) -> None:
    page = await load(forkable.browser, forkable.url("chat", forkable.ids("chat")[0], "edit/"))
    assert page.find("textarea") == []
    names = [box["value"] for box in page.find("input[type=checkbox]")]
    assert sorted(names) == ["at", "messages", "order", "point", "ref", "seen"]
    _, page = await open_editor(forkable, "chat", "order")
    assert [box["value"] for box in page.find("input[type=checkbox]") if "checked" in box.attributes] == [
        "order"
    ]
    assert '"$type": "graphs.Order"' in typed(page)[0]


async def test_each_channel_of_the_state_leads_to_its_editor(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    page = await load(forkable.browser, forkable.url("asking", head))
    links = [link["href"] for link in page.find("a.edit-link")]
    assert links == [forkable.url("asking", head, "edit/", channel=name) for name in ("log", "n")]


async def test_an_edit_is_looked_over_and_then_stored(forkable: Forkable) -> None:
    url, page = await open_editor(forkable, "chat", "order")
    before, rows = forkable.head("chat"), forkable.rows()
    text = typed(page)[0].replace("240.00", "1.50")
    review = await send(forkable, url, page, "review", text, reason="too much", author="ana")
    assert forkable.rows() == rows
    assert [line.words for line in review.find(".diff div")] == ["−paid 240.00", "+paid 1.50"]
    assert [fact.words for fact in review.find("dl.facts dd")][-2:] == ["too much", "ana"]
    assert "1 checkpoint in the root namespace" in review.one("dl.facts").words
    answer = await forkable.post(url, editor(review), action="fork")
    assert answer.status_code == 303
    head = forkable.head("chat")
    assert head.checkpoint["channel_values"]["order"] == Order(id="98-1143", paid="1.50")
    assert head.checkpoint["channel_values"]["messages"] == before.checkpoint["channel_values"]["messages"]
    assert (head.metadata["fork_reason"], head.metadata["user_id"]) == ("too much", "ana")
    shown = await load(forkable.browser, answer["Location"])
    assert "Forked with your values" in shown.one("[role=status]").words


async def test_a_message_stays_a_message(forkable: Forkable) -> None:
    url, page = await open_editor(forkable, "chat", "messages")
    text = typed(page)[0].replace("It was shipped.", "It was\\nlost & <found>.")
    review = await send(forkable, url, page, "review", text)
    [card] = review.find(".msg")
    assert card.one(".body").text == "It was\nlost & <found>."
    assert (await forkable.post(url, editor(review), action="fork")).status_code == 303
    last = forkable.head("chat").checkpoint["channel_values"]["messages"][-1]
    assert (type(last).__name__, last.content) == ("AIMessage", "It was\nlost & <found>.")


async def test_what_is_wrong_is_said_with_its_place_and_the_text_stays(forkable: Forkable) -> None:
    url, page = await open_editor(forkable, "chat", "messages")
    before = forkable.rows()
    for text, told in (
        ("[1,\n 2", "line 2, column 3"),
        (typed(page)[0].replace('"content": "It was shipped."', '"content": 5'), "[3].value.content"),
        ('[{"$type": "Nobody"}]', "[0].$type: A class is written with its module"),
    ):
        for action in ("review", "fork"):
            again = await send(forkable, url, page, action, text)
            assert again.one(".wrong").words.startswith(told)
            assert typed(again) == [text]
            assert again.one("textarea")["aria-invalid"] == "true"
    assert forkable.rows() == before


async def test_what_does_not_differ_is_not_stored(forkable: Forkable) -> None:
    url, page = await open_editor(forkable, "asking", "log")
    before = forkable.rows()
    for action in ("review", "fork"):
        review = await send(forkable, url, page, action, ' [ "prepared" ]\r\n')
        assert "Nothing differs" in review.one("p.notice").words
        assert [button["value"] for button in review.find("button[name=action]")] == ["edit"]
    assert forkable.rows() == before


async def test_one_goes_back_from_the_review_with_what_was_typed(forkable: Forkable) -> None:
    url, page = await open_editor(forkable, "asking", "log")
    review = await send(forkable, url, page, "review", '["a"]', reason="why")
    again = await send(forkable, url, review, "edit")
    assert typed(again) == ['["a"]']
    assert again.one("input[name=reason]")["value"] == "why"


async def test_several_channels_are_edited_together(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    url = f"{forkable.url('asking', head, 'edit/')}?channel=log&channel=n"
    page = await load(forkable.browser, url)
    review = await send(forkable, url, page, "review", '["a", "b"]', "7")
    assert [heading.words.split()[0] for heading in review.find(".change h3")] == ["log", "n"]
    assert (await forkable.post(url, editor(review), action="fork")).status_code == 303
    state = forkable.graphs["asking"].get_state(config("asking"))
    assert (state.values, state.next) == ({"log": ["a", "b"], "n": 7}, ("ask",))


async def test_a_delta_channel_begins_with_what_its_reducer_was_given(forkable: Forkable) -> None:
    tell = StateGraph(Story).add_node("tell", lambda state: {"story": ["told"]}).add_edge(START, "tell")
    graph = tell.compile(forkable.saver)
    for word in ("one", "two"):
        graph.invoke({"story": [word]}, config("story"))
    url, page = await open_editor(forkable, "story", "story")
    assert json.loads(typed(page)[0]) == ["one", "told", "two", "told"]
    assert "becomes its whole value" in page.one(".editor").words
    review = await send(forkable, url, page, "review", '["whole"]')
    assert (await forkable.post(url, editor(review), action="fork")).status_code == 303
    assert graph.get_state(config("story")).values["story"] == ["whole"]
    assert graph.invoke({"story": ["three"]}, config("story"))["story"] == ["whole", "three", "told"]


async def test_a_value_of_200_kb_is_edited(forkable: Forkable) -> None:
    graph = forkable.graphs["chat"]
    graph.update_state(config("big"), {"big": "ä<" * 100_000, "messages": []}, as_node="tools")
    url, page = await open_editor(forkable, "big", "big")
    review = await send(forkable, url, page, "review", typed(page)[0].replace("ä<", "ö>"))
    assert (await forkable.post(url, editor(review), action="fork")).status_code == 303
    assert forkable.head("big").checkpoint["channel_values"]["big"] == "ö>" * 100_000


@pytest.mark.parametrize("name", ["two\nlines", "\r\n ", "a&b=c#d", "ä~20", "<b>"])
async def test_a_channel_of_any_name_is_edited(name: str, forkable: Forkable) -> None:
    at = forkable.head("asking")
    values = {**at.checkpoint["channel_values"], name: 1}
    versions = {**at.checkpoint["channel_versions"], name: "9"}
    held = {**at.checkpoint, "channel_values": values, "channel_versions": versions}
    forkable.saver.put(at.parent_config, held, at.metadata, {name: "9"})
    url = forkable.url("asking", at.checkpoint["id"], "edit/")
    choice = await load(forkable.browser, url)
    [key] = [box["value"] for box in choice.find("input[type=checkbox]") if box["value"] not in ("log", "n")]
    url = f"{url}?channel={key}"
    review = await send(forkable, url, await load(forkable.browser, url), "review", "2")
    assert (await forkable.post(url, editor(review), action="fork")).status_code == 303
    assert forkable.head("asking").checkpoint["channel_values"][name] == 2


async def test_the_choice_is_changed_without_losing_what_was_typed(forkable: Forkable) -> None:
    url, page = await open_editor(forkable, "asking", "log")
    page = await send(forkable, url, page, "choose", '["typed"]', channel=["log", "n"])
    assert typed(page) == ['["typed"]', "1"]
    page = await send(forkable, url, page, "choose", '["typed"]', "2", channel=["n"])
    assert typed(page) == ["2"]


async def test_a_form_without_its_token_is_refused(forkable: Forkable) -> None:
    url, _ = await open_editor(forkable, "asking", "log")
    browser, before = AsyncClient(enforce_csrf_checks=True), forkable.rows()
    browser.cookies = forkable.browser.cookies
    answer = await browser.post(url, {"action": "fork", "name": "log", "path": "", "text": "[]"})
    assert (answer.status_code, forkable.rows()) == (403, before)


async def test_a_channel_that_is_not_there_is_not_found(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    answer = await forkable.browser.get(forkable.url("asking", head, "edit/", channel="nobody"))
    assert answer.status_code == 404
    assert b"no channel &#x27;nobody&#x27;" in answer.content


@pytest.mark.parametrize("action", ["fork", "review"])
async def test_a_read_only_explorer_shows_no_editor_and_refuses_the_form(
    action: str, forkable: Forkable, settings: SettingsWrapper
) -> None:
    url, page = await open_editor(forkable, "asking", "log")
    before, settings.EXPLORER_READ_ONLY = forkable.rows(), True
    assert (await load(forkable.browser, url)).find("textarea") == []
    answer = await forkable.post(url, editor(page), action=action, text=['["a"]'])
    assert answer.status_code == (403 if action == "fork" else 200)
    assert b"read-only" in answer.content
    assert forkable.rows() == before


async def test_a_checkpoint_that_changed_since_is_not_edited(forkable: Forkable) -> None:
    url, page = await open_editor(forkable, "asking", "log")
    at = forkable.head("asking")
    forkable.saver.put(at.parent_config, at.checkpoint, {**at.metadata, "changed": True}, {})
    before = forkable.rows()
    answer = await forkable.post(url, editor(page), action="fork", text=['["a"]'])
    assert (answer.status_code, forkable.rows()) == (409, before)
    review = parse(answer.content.decode())
    assert "has changed since" in review.one("[role=alert]").words
    assert typed(review) == ['["a"]'], "nothing is lost"
    assert (await forkable.post(url, editor(review), action="fork")).status_code == 303


async def test_a_checkpoint_that_changes_while_the_form_is_read_is_not_edited(
    forkable: Forkable, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = forkable.head("asking")

    async def late(*args: Any, **kwargs: Any) -> Any:
        changed = {**at.checkpoint, "channel_values": {**at.checkpoint["channel_values"], "n": 5}}
        forkable.saver.put(at.parent_config, changed, at.metadata, {})
        return await afork(*args, **kwargs)

    url, page = await open_editor(forkable, "asking", "log")
    review = await send(forkable, url, page, "review", '["a"]')
    monkeypatch.setattr("explorer.views.edit.afork", late)
    answer = await forkable.post(url, editor(review), action="fork")
    assert answer.status_code == 409
    assert forkable.head("asking").checkpoint["id"] == at.checkpoint["id"]


async def test_a_store_that_refuses_the_fork_leaves_what_was_typed_on_the_page(
    forkable: Forkable, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object, **__: object) -> None:
        raise StoreBusy("Somebody else keeps a lock.")

    url, page = await open_editor(forkable, "asking", "log")
    review = await send(forkable, url, page, "review", '["a"]')
    monkeypatch.setattr("explorer.views.edit.afork", busy)
    answer = await forkable.post(url, editor(review), action="fork")
    again = parse(answer.content.decode())
    assert (answer.status_code, typed(again)) == (503, ['["a"]'])
    assert "Somebody else keeps a lock." in again.one("[role=alert]").words


async def test_too_many_channels_are_said_beside_what_was_typed(forkable: Forkable) -> None:
    at = forkable.head("asking")
    names = [f"c{number:03}" for number in range(230)]
    held = {**at.checkpoint, "channel_values": dict.fromkeys(names, 1)}
    forkable.saver.put(at.parent_config, {**held, "channel_versions": dict.fromkeys(names, "9")}, {}, {})
    url, page = await open_editor(forkable, "asking", "c220")
    page = await send(forkable, url, page, "choose", "7", channel=["c000", "c220"])
    assert typed(page) == ["7", "1"], "one that is not listed is listed once it is chosen"
    page = await send(forkable, url, page, "choose", "7", "1", channel=[*names[:25], "c220"])
    assert "At most 20 channels" in page.one("[role=alert]").words
    assert len(typed(page)) == 20
    assert "7" in typed(page)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ["log"], "path": ["abc"], "text": ["[]"]},
        {"name": ["log"], "path": ["²"], "text": ["[]"]},
        {"name": ["log", "n"], "path": [""], "text": ["[]", "1"]},
        {"name": ["log", "log"], "path": ["", "0"], "text": ['["X", "Y"]', '"a"']},
    ],
)
async def test_a_form_that_no_page_sends_is_refused(fields: dict[str, list[str]], forkable: Forkable) -> None:
    url, page = await open_editor(forkable, "asking", "log")
    [basis] = {field["value"] for field in page.find("input[name=basis]")}
    for action in ("review", "fork"):
        before = forkable.rows()
        answer = await forkable.browser.post(url, {**fields, "action": action, "basis": basis})
        assert (answer.status_code, forkable.rows()) == (422, before)


async def test_a_delta_channel_whose_ancestors_are_too_many_is_not_edited(
    forkable: Forkable, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = StateGraph(Story).add_node("tell", lambda state: {"story": ["told"]}).add_edge(START, "tell")
    graph = tell.compile(forkable.saver)
    for word in ("one", "two"):
        graph.invoke({"story": [word]}, config("story"))
    monkeypatch.setattr("checkpoints.deltas.ANCESTORS", 3)
    _, page = await open_editor(forkable, "story", "story")
    assert "its ancestors are too many" in page.one(".wrong").words
    assert typed(page) == []


async def test_one_message_is_edited_alone(forkable: Forkable) -> None:
    before = forkable.head("chat").checkpoint["channel_values"]["messages"]
    page = await load(forkable.browser, forkable.url("chat", forkable.ids("chat")[0]))
    [card] = [card for card in page.find("#state .msg") if "lookup_order" in card.words]
    url = card.one("a.edit-link")["href"]
    page = await load(forkable.browser, url)
    assert json.loads(typed(page)[0])["value"]["tool_calls"][0]["args"]["id"] == "98-1143"
    wrong = await send(forkable, url, page, "review", typed(page)[0].replace('"args": {', '"arguments": {'))
    assert wrong.one(".wrong").words.startswith("value.tool_calls[0]: A call of a tool has")
    review = await send(forkable, url, page, "review", typed(page)[0].replace("98-1143", "77-0001"))
    assert [tag.words for tag in review.find(".msg .tag.wait")] == ["changed"]
    assert (await forkable.post(url, editor(review), action="fork")).status_code == 303
    after = forkable.head("chat").checkpoint["channel_values"]["messages"]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, True]
    assert after[1].tool_calls[0]["args"]["id"] == "77-0001"


async def test_a_part_that_is_not_there_is_not_found(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("chat")
    for path in ("9", "0.99", "0.0.0.0"):
        answer = await forkable.browser.get(
            forkable.url("chat", head, "edit/", channel="messages", path=path)
        )
        assert answer.status_code == 404
