"""Ids in addresses, searches in the box, times and sizes in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.stores.records import Search
from explorer import search, tilde
from explorer.wording import ago, duration, short, size

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.text())
def test_any_text_survives_an_address(text: str) -> None:
    assert tilde.decode(tilde.encode(text)) == text


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_two_ids_never_share_an_address(one: str, other: str) -> None:
    assert (tilde.encode(one) == tilde.encode(other)) == (one == other)


@pytest.mark.parametrize("segment", ["~2", "~zz", "~61", "~FF", "a~", "~ED~A0~80", "~2f"])
def test_an_address_that_no_id_has_is_refused(segment: str) -> None:
    with pytest.raises(ValueError, match=r"tilde|utf-8"):
        tilde.decode(segment)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", None),
        ("  ", None),
        ("refund", Search(thread_id="refund")),
        ("user_id=alice", Search(metadata=("user_id", "alice"))),
        ('user_id="Ana Maria" refund', Search(thread_id="refund", metadata=("user_id", "Ana Maria"))),
        ("id:a=b", Search(thread_id="a=b")),
        ("q?x=1&y=2", Search(thread_id="q?x=1&y=2")),
        ("a.b-c=1", Search(metadata=("a.b-c", "1"))),
    ],
)
def test_the_search_box_understands(text: str, wanted: Search | None) -> None:
    assert search.parse(text) == wanted


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "just now"), (0.2, "just now"), (42, "42 s ago"), (7_300, "2 h ago"), (9e7, "2 y ago")],
)
def test_times_are_told_in_the_largest_unit(seconds: float, text: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0012, "+1.2 ms"), (0.34, "+340 ms"), (3.44, "+3.4 s"), (720, "+12 min"), (-3.0, "−3.0 s")],
)
def test_spans_are_told_in_two_digits(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 B"), (4_100, "4.1 KB"), (200_000, "200 KB"), (5 * 10**9, "5.0 GB")]
)
def test_sizes_are_told_in_bytes(count: int, text: str) -> None:
    assert size(count) == text


def test_a_long_id_shows_both_ends() -> None:
    assert short("1f0c8a2e-89a1-6b25-bfff-3fa249fb67d4") == "1f0c8a2e…67d4"
