"""The list of threads in PostgreSQL: the same however it is found, and never more than a page of rows."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import psycopg
import pytest
from stores_data import ask, execute, ids, official, write

from checkpoints.stores import Search, ThreadPage
from checkpoints.stores.postgres import listing, places, search
from checkpoints.stores.postgres.places import Place

if TYPE_CHECKING:
    from collections.abc import Iterable

INDEX = "CREATE INDEX ON checkpoints (checkpoint_id DESC) INCLUDE (thread_id)"
WAYS = ("walk", "group", "scan")


def fill(url: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """Make a store of these checkpoints: thread, namespace, id."""
    with official(url), psycopg.connect(url) as conn:
        columns = "thread_id, checkpoint_ns, checkpoint_id, checkpoint"
        sql = f"INSERT INTO checkpoints ({columns}) VALUES (%s, %s, %s, '{{}}')"
        conn.cursor().executemany(sql.encode(), list(rows))


def take(way: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the list be found by walking an index, in one pass, or thread by thread."""
    if way == "walk":
        execute(url, INDEX)
    monkeypatch.setattr(listing, "FEW", 10_000 if way == "scan" else -1)


def expected(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    latest: dict[str, str] = {}
    for thread, _, id in rows:
        latest[thread] = max(id, latest.get(thread, ""))
    return [thread for _, thread in sorted(((id, thread) for thread, id in latest.items()), reverse=True)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(4))
async def test_every_way_leads_through_the_same_pages(
    database: str, monkeypatch: pytest.MonkeyPatch, seed: int, way: str
) -> None:
    dice = random.Random(seed)
    rows = {
        (f"t{dice.randrange(30)}", dice.choice(["", "", "a:1", "b:2"]), f"{dice.randrange(60):04}")
        for _ in range(150)
    }
    fill(database, rows)
    take(way, database, monkeypatch)
    monkeypatch.setattr(listing, "WALK", (7, 3, 11, *[13] * 12))
    for limit in (1, 3, 50):
        assert await ids(database, limit=limit) == expected(rows)


@pytest.mark.parametrize("way", WAYS)
async def test_copies_that_share_their_ids_are_each_on_one_page(
    database: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    rows = [(f"copy {n:02}", "", id) for n in range(20) for id in ("1", "2")]
    fill(database, rows)
    take(way, database, monkeypatch)
    monkeypatch.setattr(listing, "WALK", (3,) * 40)
    for limit in (1, 7, 20, 50):
        assert await ids(database, limit=limit) == [f"copy {n:02}" for n in reversed(range(20))]


async def test_a_deep_thread_in_front_hides_no_other(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("deep", "", f"9{n:04}") for n in range(500)] + [(f"t{n}", "", f"{n}") for n in range(9)]
    fill(database, rows)
    take("walk", database, monkeypatch)
    monkeypatch.setattr(listing, "WALK", (10, 20))
    for few in (-1, 100):
        monkeypatch.setattr(listing, "FEW", few)
        assert await ids(database, limit=4) == expected(rows)


async def test_a_thread_of_many_namespaces_is_on_one_page(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("many", f"n:{n}", f"{n}{n}") for n in range(9)] + [(f"t{n}", "", f"{n}") for n in range(9)]
    fill(database, rows)
    monkeypatch.setattr(listing, "WALK", (4,) * 9)
    monkeypatch.setattr(listing, "_WALK", listing._WALK.replace(f"LIMIT {places.NAMESPACES}", "LIMIT 3"))
    take("walk", database, monkeypatch)
    for limit in (1, 2, 50):
        assert await ids(database, limit=limit) == [
            "t8",
            "t7",
            "t6",
            "t5",
            "t4",
            "t3",
            "many",
            "t2",
            "t1",
            "t0",
        ]


async def test_the_pass_gives_way_when_it_takes_too_long(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, rows := [(f"t{n:03}", "", f"{n:03}") for n in range(120)])
    take("group", database, monkeypatch)
    monkeypatch.setattr(listing, "_GROUP", "SELECT pg_sleep(5)::text, %(rows)s::text")
    monkeypatch.setattr(listing, "GROUP_SECONDS", 0.01)
    assert await ids(database) == expected(rows)
    monkeypatch.setattr(listing, "SCAN", 50)
    monkeypatch.setattr(listing, "SCAN_SECONDS", -1)
    page: ThreadPage = await ask(database, lambda store: store.threads())
    assert page.bound == "Only the first 50 threads in the order of their ids were looked at."
    assert len(page.threads) == 50


@pytest.mark.parametrize("before", ["", "x", "7", "null", "[]", '["1"]', '[1,"t"]', '{"a":1}', "[" * 9_000])
async def test_what_is_no_key_leads_to_the_first_page(database: str, before: str) -> None:
    fill(database, [("t", "", "1")])
    page = await ask(database, lambda store: store.threads(before=before))
    assert [row.thread_id for row in page.threads] == ["t"]


@pytest.mark.parametrize("id", ['say "hi"', "a,b", "\\", "é\n", "[1]", ""])
def test_a_key_keeps_any_id(id: str) -> None:
    assert Place.of_key(Place(id, id).key) == (id, id)
    assert Place.of_key(Place(None, id).key) == (None, id)


async def test_a_large_store_without_the_index_is_told_what_makes_it_fast(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, [(f"t{n}", "", f"{n}") for n in range(20)])
    execute(database, "ANALYZE checkpoints")
    first = await ask(database, lambda store: store.threads())
    assert first.hint is None, "20 rows need no index"
    monkeypatch.setattr(listing, "LARGE", 20)
    told = (await ask(database, lambda store: store.threads())).hint
    assert told.command.startswith("CREATE INDEX CONCURRENTLY ON public.checkpoints (checkpoint_id DESC)")
    execute(database, told.command.replace("CONCURRENTLY ", ""))
    after = await ask(database, lambda store: store.threads())
    assert (after.hint, after.threads) == (None, first.threads)


@pytest.mark.parametrize(
    "index", ["(thread_id, checkpoint_id)", "(checkpoint_id) WHERE thread_id = 't'", "(lower(checkpoint_id))"]
)
async def test_an_index_that_does_not_serve_the_list_is_not_taken_for_one_that_does(
    database: str, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    fill(database, [("t", "", "1")])
    execute(database, f"CREATE INDEX ON checkpoints {index}")
    execute(database, "ANALYZE checkpoints")
    monkeypatch.setattr(listing, "LARGE", 1)
    assert (await ask(database, lambda store: store.threads())).hint


async def test_a_search_that_takes_too_long_says_what_makes_it_fast(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, ["a"], user_id="ana")
    monkeypatch.setattr(
        search, "_SEARCH", search._SEARCH.replace("GROUP BY", "AND pg_sleep(5) IS NULL GROUP BY")
    )
    monkeypatch.setattr(search, "SEARCH_SECONDS", 0.01)
    page = await ask(database, lambda store: store.threads(search=Search(metadata=("user_id", "ana"))))
    assert (page.threads, page.before) == ((), None)
    assert "could not be searched" in page.bound
    assert "USING gin (metadata jsonb_path_ops)" in page.hint.command


@pytest.mark.parametrize("value", ['{"a":1}', "[1]", '"x"'])
async def test_a_value_that_only_contains_the_one_that_is_looked_for_does_not_match(
    database: str, value: str
) -> None:
    write(database, ["a"])
    execute(database, """UPDATE checkpoints SET metadata = '{"key": {"a": 1, "b": 2}, "list": [1, 2]}'""")
    for key in ("key", "list"):
        assert await ids(database, search=Search(metadata=(key, value))) == []


NO_JSONB = ["NaN", "Infinity", "1e999", '"\\u0000"', '"\\ud800"', "9" * 900]


@pytest.mark.parametrize("value", [*NO_JSONB, "-", "{", "[" * 500, "a\0b", "\udcff"])
async def test_any_value_can_be_looked_for(database: str, value: str) -> None:
    write(database, ["a"], user_id="ana")
    assert await ids(database, search=Search(metadata=("user_id", value))) == []
    assert await ids(database, search=Search(metadata=(value, "x"))) == []
    assert await ids(database, search=Search(thread_id=value)) == []
