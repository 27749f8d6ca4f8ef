"""Finding threads to delete, and making a plan of some or all."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from graphs import AWKWARD
from pages import parse

from explorer import tilde
from explorer.database.threads import in_database
from explorer.models import Deletion, DeletionThread

if TYPE_CHECKING:
    from deletable import Deletable
    from pages import Element


async def found(shop: Deletable, **asked: str) -> Element:
    return await shop.load(f"/s/{shop.slug}/find/?{urlencode(asked)}")


def ids(page: Element) -> set[str]:
    return {row.one("a").text for row in page.find("table.picks tr") if row.find("a")}


async def test_the_empty_form_asks_for_nothing_and_finds_nothing(shop: Deletable) -> None:
    page = await found(shop)
    assert not page.find("table")
    assert page.one("form.finding button").words == "Find"


async def test_metadata_counts_from_any_checkpoint_and_all_pairs_must_hold(shop: Deletable) -> None:
    assert ids(await found(shop, meta="user_id=ana")) == {"chat", "forked"}
    assert ids(await found(shop, meta="user_id = ana source=fork")) == {"forked"}
    assert ids(await found(shop, meta="user_id=nobody")) == set()


async def test_ids_are_found_as_pasted_and_those_that_are_not_there_are_named(shop: Deletable) -> None:
    page = await found(shop, ids="chat\r\nfan-out\n\nno such thread\nchat\n")
    assert ids(page) == {"chat", "fan-out"}
    assert [code.text for code in page.find("ul.ids code")] == ["no such thread"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"begins": "f"}, {"fan-out", "forked", "failing", "functional"}),
        ({"status": "interrupted"}, {"asking", "fan-out", "functional", "nested"}),
        ({"idle_days": "1"}, set()),
    ],
)
async def test_the_other_fields_narrow_it_down(
    shop: Deletable, asked: dict[str, str], expected: set[str]
) -> None:
    assert ids(await found(shop, **asked)) == expected


@pytest.mark.parametrize(
    "asked", [{"meta": "no pair"}, {"idle_days": "0"}, {"meta": "a=1 rest"}, {"every": ""}]
)
async def test_what_cannot_be_meant_is_said(shop: Deletable, asked: dict[str, str]) -> None:
    page = await shop.load(f"/s/{shop.slug}/find/?{urlencode(asked)}", status=422)
    assert page.find(".wrong") or page.find("p.notice.bad")


async def test_a_plan_of_all_has_what_was_found_and_leads_to_its_address(shop: Deletable) -> None:
    answer = await shop.browser.post(f"/s/{shop.slug}/deletions/", {"which": "all", "meta": "user_id=ben"})
    plan = await in_database(Deletion.objects.get)
    assert (answer.status_code, answer["Location"]) == (303, f"/deletions/{plan.id}/")
    threads = await in_database(lambda: set(DeletionThread.objects.values_list("thread_id", flat=True)))
    assert threads == {"asking", "resumed", "fan-out", "joining"}
    rows = sum(table["rows"] for table in plan.tables.values())
    assert rows == sum(map(shop.rows_of, threads))


async def test_a_plan_of_some_has_those_alone(shop: Deletable) -> None:
    chosen = [tilde.encode("nested"), tilde.encode(AWKWARD)]
    await shop.browser.post(f"/s/{shop.slug}/deletions/", {"which": "some", "thread": chosen, "every": "1"})
    threads = await in_database(lambda: set(DeletionThread.objects.values_list("thread_id", flat=True)))
    assert threads == {"nested", AWKWARD}


async def test_a_plan_of_nothing_is_refused(shop: Deletable) -> None:
    for which in ("some", "all"):
        answer = await shop.browser.post(f"/s/{shop.slug}/deletions/", {"which": which})
        assert answer.status_code == 422
    answer = await shop.browser.post(f"/s/{shop.slug}/deletions/", {"which": "all", "ids": "none"})
    assert answer.status_code == 422
    assert not await in_database(Deletion.objects.exists)


async def test_the_timeline_and_the_list_lead_here(shop: Deletable) -> None:
    page = await shop.load(f"/s/{shop.slug}/threads/chat/")
    [form] = page.find("form.delete-thread")
    assert form["action"] == f"/s/{shop.slug}/deletions/"
    page = await shop.load(f"/s/{shop.slug}/threads/?q=user_id%3Dana")
    [link] = [a for a in page.find("a") if a.words == "find and delete"]
    assert link["href"] == f"/s/{shop.slug}/find/?meta=user_id%3D%22ana%22"


async def test_the_form_leads_to_an_address_and_a_list_too_long_for_one_is_answered_at_once(
    shop: Deletable,
) -> None:
    short = await shop.browser.post(f"/s/{shop.slug}/find/", {"ids": "chat", "begins": "c"})
    assert (short.status_code, short["Location"]) == (303, f"/s/{shop.slug}/find/?ids=chat&begins=c")
    many = "\n".join(["chat", *(f"no such thread {n:08}" for n in range(5_000))])
    long = await shop.browser.post(f"/s/{shop.slug}/find/", {"ids": many})
    assert long.status_code == 200
    assert ids(parse(long.content.decode())) == {"chat"}
