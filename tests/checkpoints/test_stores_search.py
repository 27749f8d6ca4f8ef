"""Searches: by part of a thread's id, and by the metadata of any of its checkpoints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from stores_data import ask, config, counter, execute, ids, official, write

from checkpoints.stores import Search
from checkpoints.stores.sqlite import search

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("needle", "expected"),
    [
        ("USER", ["user-ana", "User-Ben"]),
        ("ana", ["user-ana"]),
        ("%", ["100%"]),
        ("_", ["a_b"]),
        ("É", ["É"]),
        ("x'; DROP TABLE checkpoints; --", []),
    ],
)
async def test_an_id_is_found_by_any_part_of_it(place: str, needle: str, expected: list[str]) -> None:
    write(place, ["a_b", "100%", "É", "User-Ben", "user-ana"])
    for limit in (1, 50):
        assert await ids(place, limit=limit, search=Search(thread_id=needle)) == expected


async def test_an_empty_id_is_an_id(place: str) -> None:
    write(place, ["a", "b"])
    execute(place, "UPDATE checkpoints SET thread_id = '' WHERE thread_id = 'a'")
    execute(place, "UPDATE writes SET thread_id = '' WHERE thread_id = 'a'")
    assert await ids(place) == ["b", ""]
    assert await ids(place, limit=1, search=Search(thread_id="")) == ["b", ""]


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        (42, "42"),
        ("42", "42"),
        (True, "true"),
        ("true", "true"),
        (None, "null"),
        (1.5, "1.5"),
        ("ana", "ana"),
        ("Zoë ☃ \"'", "Zoë ☃ \"'"),
        ({"a": [1, "x"]}, '{"a":[1,"x"]}'),
    ],
)
async def test_a_value_matches_as_text_and_as_json(place: str, stored: object, value: str) -> None:
    write(place, ["a", "b"])
    metadata = json.dumps({"key": stored})
    execute(place, "UPDATE checkpoints SET metadata = ? WHERE thread_id = 'a'", metadata)
    assert await ids(place, search=Search(metadata=("key", value))) == ["a"]
    assert await ids(place, search=Search(metadata=("key", value + "x"))) == []


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        ("15e-1", "1.5"),
        ("1e2", "100.0"),
        ("1E+20", "1.0e+20"),
        ("-5", "-5"),
        ('"0e1-7"', "0e1-7"),
        ("1234567890123456789", "1234567890123456789"),
    ],
)
async def test_numbers_match_however_they_are_written(tmp_path: Path, stored: str, value: str) -> None:
    path = write(tmp_path / "x.sqlite", ["a", "b"])
    execute(path, "UPDATE checkpoints SET metadata = ? WHERE thread_id = 'a'", f'{{"key": {stored}}}')
    assert await ids(path, search=Search(metadata=("key", value))) == ["a"]


@pytest.mark.parametrize("key", ["a.b", 'quo"te', "$", "it's", "[0]", "é", "", "a b"])
async def test_any_key_is_a_key(place: str, key: str) -> None:
    write(place, ["a", "b"])
    execute(place, "UPDATE checkpoints SET metadata = ? WHERE thread_id = 'a'", json.dumps({key: "v"}))
    assert await ids(place, search=Search(metadata=(key, "v"))) == ["a"]


async def test_a_thread_matches_by_any_of_its_checkpoints_and_once(place: str) -> None:
    write(place, ["a", "b", "c"], user_id="ana")
    with official(place) as saver:
        for thread_id in ("b", "a"):
            counter(saver).update_state(config(thread_id), None, as_node="__copy__")
    mine = Search(metadata=("user_id", "ana"))
    for limit in (1, 2, 50):
        assert sorted(await ids(place, limit=limit, search=mine)) == ["a", "b", "c"]


async def test_both_conditions_must_hold(place: str) -> None:
    write(place, ["a1", "b1"], user_id="ana")
    write(place, ["a2", "b2"], user_id="ben")
    assert await ids(place, search=Search(thread_id="A", metadata=("user_id", "ben"))) == ["a2"]


@pytest.mark.parametrize("rotten", [None, b"\xff\xfe", b"{", b"[1]", b"null", b"7", 7, '{"user_id":'])
async def test_rotten_metadata_is_passed_over(tmp_path: Path, rotten: object) -> None:
    path = write(tmp_path / "x.sqlite", ["a", "b", "c"], user_id="ana")
    execute(path, "UPDATE checkpoints SET metadata = ? WHERE thread_id = 'b'", rotten)
    assert await ids(path, search=Search(metadata=("user_id", "ana"))) == ["c", "a"]


async def test_a_long_search_says_how_far_it_went_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.sqlite", ["a"], user_id="ana")
    write(path, ["b", "c", "d"], user_id="ben")
    monkeypatch.setattr(search, "CHUNK", 4)
    monkeypatch.setattr(search, "SEARCH_SECONDS", -1)
    mine = Search(metadata=("user_id", "ana"))
    page = await ask(path, lambda store: store.threads(search=mine))
    assert (page.threads, page.bound) == ((), "Searched the newest 4 checkpoints; there are older ones.")
    assert await ids(path, search=mine) == ["a"]
