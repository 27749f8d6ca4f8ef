"""The tree of a namespace, as its lanes draw it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.branches import Lane, Link, Tree


def tree(text: str) -> Tree:
    """Make a tree of words `id<parent`, the oldest first."""
    links = [Link(id, parent or None) for id, _, parent in (word.partition("<") for word in text.split())]
    return Tree(links[::-1], whole=True)


def drawn(text: str) -> list[str]:
    """Draw a tree as text: `*` a checkpoint, `|` a line that goes by, `/` one that joins, `.` none."""
    of = tree(text)
    lanes = of.lanes({link.id for link in of.links})
    rows = []
    for link in of.links:
        lane = lanes[link.id]
        signs = {lane.column: "*", **dict.fromkeys(lane.joins, "/"), **dict.fromkeys(lane.passes, "|")}
        rows.append("".join(signs.get(column, ".") for column in range(lane.width)))
    return rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        ("a", ["*"]),
        ("a b<a c<b", ["*", "*", "*"]),
        ("a b<a c<b d<a", ["*", "|*", "|*", "*/"]),  # a fork: the head's branch is on the left
        ("a b<a c<a d<c", ["*", "*", "|*", "*/"]),
        ("a b<a c<a d<b e<c f<d", ["*", "|*", "*|", "|*", "*|", "*/"]),  # two writers
        ("a b<a c<a d<a", ["*", "|*", "||*", "*//"]),  # siblings
        ("a b<gone c<b", ["*", "*", "*"]),  # a parent that is missing
        ("a b c", ["*", "*", "*"]),
        ("a b<a c<a d<b e<a", ["*", "|*", "||*", "|*|", "*//"]),
    ],
)
def test_the_tree_is_drawn(text: str, rows: list[str]) -> None:
    assert drawn(text) == rows


def test_a_line_leads_on_where_a_parent_is_missing_and_ends_at_a_root() -> None:
    links = tree("b<aa c<b").links
    for whole in (True, False):  # of a tree that goes on below, the parent may be there
        lanes = Tree(links, whole).lanes({"b", "c"})
        assert lanes["c"] == Lane(0, continues=False, descends=True, trunk=0)
        assert lanes["b"] == Lane(0, continues=True, descends=not whole, trunk=0, severed=whole)
    assert Tree([Link("c", "b"), Link("a", None)], whole=False).lanes({"c"})["c"].severed
    assert not tree("a").lanes({"a"})["a"].descends


def test_links_that_loop_are_drawn_once() -> None:
    of = Tree([Link("c", "b"), Link("b", "a"), Link("a", "c")], whole=True)
    assert [lane.descends for lane in of.lanes({"a", "b", "c"}).values()] == [True, True, False]
    assert of.chain("c") == ["c", "b", "a"]
    assert Tree([Link("a", "a")], whole=True).lanes({"a"})["a"] == Lane(0, False, False, trunk=0)


def test_only_what_is_shown_is_drawn_as_in_the_whole() -> None:
    of = tree("a b<a c<a d<b e<c f<d g<e")
    whole = of.lanes({link.id for link in of.links})
    assert of.lanes({"b", "c"}) == {id: whole[id] for id in ("c", "b")}


def test_tips_are_what_nobody_continued() -> None:
    of = tree("a b<a c<b d<a e<d f<a")
    assert of.tips == ("f", "e", "c")
    assert of.trunk == {"f", "a"}
    assert of.children["a"] == 3
    assert [of.own(tip) for tip in of.tips] == [(1, False), (2, False), (2, False)]
    assert of.chain("e") == ["e", "d", "a"]
    assert of.chain("nobody") == []


def test_of_a_tree_that_goes_on_below_the_length_of_a_branch_is_what_is_known_at_least() -> None:
    links = tree("c<b d<c e<d").links
    assert Tree(links, whole=False).own("e") == (3, True)
    assert Tree(links, whole=True).own("e") == (3, False)


def test_ten_thousand_forks_of_one_checkpoint_are_drawn_in_a_moment() -> None:
    links = [Link(f"{number:05}", "00000") for number in range(10_000, 0, -1)]
    of = Tree([*links, Link("00000", None)], whole=True)
    drawing = of.lanes({"00000", "00001"})
    assert drawing["00001"].column == 9_999
    assert len(drawing["00000"].joins) == 9_999


@given(st.lists(st.one_of(st.none(), st.integers(0, 40)), max_size=40))
def test_every_line_that_is_drawn_ends_where_the_next_row_takes_it_up(parents: list[int | None]) -> None:
    links = [
        Link(f"{number:03}", None if parent is None else f"{parent:03}")
        for number, parent in enumerate(parents)
    ]
    of = Tree(links[::-1], whole=True)
    lanes = of.lanes({link.id for link in links})
    below: set[int] = set()
    for link in of.links:
        lane = lanes[link.id]
        above = {*lane.passes, *lane.joins, *([lane.column] if lane.continues else [])}
        assert above == below
        assert lane.column not in (*lane.passes, *lane.joins)
        below = {*lane.passes, *([lane.column] if lane.descends else [])}
    assert len(lanes) == len(links)


def test_two_thousand_checkpoints_in_fifty_branches_need_fifty_columns() -> None:
    links = [Link("0000", None)]
    links += [
        Link(f"{number:04}", f"{number - 50:04}" if number > 50 else "0000") for number in range(1, 2001)
    ]
    of = Tree(links[::-1], whole=True)
    assert len(of.tips) == 50
    assert max(lane.width for lane in of.lanes({link.id for link in links}).values()) == 50
