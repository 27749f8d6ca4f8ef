"""Two checkpoints beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from graphs import config
from pages import Element, load, parse

from checkpoints.forking import afork, afork_thread

if TYPE_CHECKING:
    from forkable import Forkable


def url(thread: str, id: str, **other: str) -> str:
    return f"/s/forkable/compare/?{urlencode({'thread': thread, 'id': id, **other})}"


def section(page: Element, name: str) -> Element:
    return page.one(f"section[aria-labelledby={name}]")


async def compared(forkable: Forkable, thread: str, first: int, second: int) -> Element:
    ids = forkable.ids(thread)
    return await load(forkable.browser, url(thread, ids[first], with_thread=thread, with_id=ids[second]))


async def test_the_first_is_chosen_and_then_one_of_its_namespace(forkable: Forkable) -> None:
    ids = forkable.ids("joining")
    page = await load(forkable.browser, url("joining", ids[1]))
    lines = page.find(".candidates li")
    assert [line.one("b").words.split()[0] for line in lines] == ["3", "2", "1", "0", "−1"]
    assert "this one" in lines[1].words
    chosen = await load(forkable.browser, lines[3].one("a")["href"])
    assert [side.one("h2 a").words for side in chosen.find(".side-card")] == [
        "Step 0 · __start__",
        "Step 2 · b1, b2",
    ]


async def test_what_differs_is_shown_from_the_first_to_the_second(forkable: Forkable) -> None:
    page = await compared(forkable, "joining", 3, 0)
    state = section(page, "state")
    assert [line.words for line in state.find(".diff div")] == [
        '+[0] "a"',
        '+[1] "b1"',
        '+[2] "b2"',
        '+[3] "join"',
    ]
    assert "The second comes 3 steps after the first, on one branch." in page.one(".form-head p").words
    assert [line.words for line in section(page, "metadata").find(".diff div")] == ["−step 0", "+step 3"]
    assert next(line.words for line in section(page, "pending").find(".diff div")) == '−a → log: ["a"]'


async def test_next_nodes_and_pending_writes_are_compared(forkable: Forkable) -> None:
    page = await compared(forkable, "asking", 1, 0)
    nexts = [side.one("dl.facts").find("dd")[-1].words for side in page.find(".side-card")]
    assert nexts == ["prepare derived", "ask derived"]
    assert any("ask → __interrupt__" in line.words for line in section(page, "pending").find(".diff div"))


async def test_messages_are_compared_as_messages(forkable: Forkable) -> None:
    page = await compared(forkable, "chat", 1, 0)
    assert [card.one(".body").words for card in section(page, "state").find(".msg")] == ["It was shipped."]


async def test_two_branches_are_compared_and_said_to_be_so(forkable: Forkable) -> None:
    ids = forkable.ids("joining")
    await afork(str(forkable.place), "joining", ids[2], values={"log": ["edited"]})
    [head, *_] = forkable.ids("joining")
    page = await load(forkable.browser, url("joining", ids[0], with_thread="joining", with_id=head))
    relation = "Since these parted the first has come 3 steps, the second one step."
    assert relation in page.one(".form-head p").words
    swapped = await load(forkable.browser, page.one(".form-head a")["href"])
    assert "the first has come one step, the second 3 steps" in swapped.one(".form-head p").words


async def test_threads_are_compared_and_without_an_id_their_heads(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    page = await load(forkable.browser, url("asking", head, with_thread="joining"))
    first, second = page.find(".side-card")
    assert forkable.ids("joining")[0] in second.words
    assert "user_id" in section(page, "metadata").words
    assert head in first.words


async def test_a_checkpoint_is_the_same_as_itself(forkable: Forkable) -> None:
    page = await compared(forkable, "asking", 0, 0)
    assert "Both are the same checkpoint." in page.one(".form-head p").words
    assert "No value of the state differs." in section(page, "state").words
    assert "None differs." in section(page, "pending").words
    assert section(page, "metadata").one("p").words == "The same."


@pytest.mark.parametrize(
    "asked",
    [
        {"thread": "nobody", "id": "x"},
        {"thread": "asking", "id": "x"},
        {"thread": "asking", "with_thread": "nobody"},
        {"thread": "asking", "with_thread": "asking", "with_ns": "other"},
        {},
    ],
)
async def test_what_is_not_there_is_not_found(asked: dict[str, str], forkable: Forkable) -> None:
    answer = await forkable.browser.get(f"/s/forkable/compare/?{urlencode(asked)}")
    assert answer.status_code == 404


async def test_a_thread_that_is_not_there_is_said_beside_the_field(forkable: Forkable) -> None:
    answer = await forkable.browser.get(url("asking", forkable.ids("asking")[0], with_thread="nobody"))
    page = parse(answer.content.decode())
    assert answer.status_code == 404
    problem = page.one(".wrong").words
    assert problem.startswith('The thread "nobody" has no checkpoint in its root namespace.')
    assert page.one("input[name=with_thread]")["value"] == "nobody"
    assert {option["value"] for option in page.find("datalist option")} == {"chat", "joining", "nested"}


async def test_the_thread_without_an_id_is_compared_and_swapped(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    await afork_thread(str(forkable.place), "asking", "", head)
    page = await load(forkable.browser, url("asking", head, with_thread="~", with_id=head))
    for _ in range(2):
        shown = {side.find("dl dd")[0].words for side in page.find(".side-card")}
        assert shown == {"asking", "(empty id)"}
        page = await load(forkable.browser, page.one(".form-head a")["href"])


async def test_a_thread_that_is_typed_is_taken_as_it_is(forkable: Forkable) -> None:
    [head, *_] = forkable.ids("asking")
    await afork_thread(str(forkable.place), "asking", "a~20b", head)
    page = await load(forkable.browser, url("asking", head, with_thread="a~20b", typed="1"))
    assert page.find(".side-card")[1].find("dl dd")[0].words == "a~20b"


async def test_equal_writes_of_several_tasks_are_counted(forkable: Forkable) -> None:
    [head, before, *_] = forkable.ids("asking")
    for number, id in enumerate((head, before, before)):
        place = {"configurable": {"thread_id": "asking", "checkpoint_ns": "", "checkpoint_id": id}}
        forkable.saver.put_writes(place, [("log", ["twin"])], f"task {number}", "~__pregel_pull, twin")
    page = await load(forkable.browser, url("asking", head, with_thread="asking", with_id=before))
    lines = [line.words for line in section(page, "pending").find(".diff div") if "twin" in line.words]
    assert lines == ['+twin → log: ["twin"]']
    assert "The same: 1" in section(page, "pending").words


async def test_every_pair_of_a_store_can_be_compared(forkable: Forkable) -> None:
    places = [at.config["configurable"] for at in forkable.saver.list(None)]
    for first, second in zip(places, [*places[5:], *places[:5]], strict=True):
        asked: dict[str, Any] = {
            "thread": first["thread_id"],
            "ns": first["checkpoint_ns"],
            "id": first["checkpoint_id"],
        }
        asked |= {
            "with_thread": second["thread_id"],
            "with_ns": second["checkpoint_ns"],
            "with_id": second["checkpoint_id"],
        }
        page = await load(forkable.browser, f"/s/forkable/compare/?{urlencode(asked)}")
        assert len(page.find(".side-card")) == 2


async def test_metadata_of_a_checkpoint_without_any_is_compared(forkable: Forkable) -> None:
    forkable.saver.put(
        config("bare") | {"configurable": {"thread_id": "bare", "checkpoint_ns": ""}},
        forkable.head("asking").checkpoint,
        {},
        {},
    )
    page = await load(forkable.browser, url("bare", "", with_thread="asking"))
    assert "source" in section(page, "metadata").words
