"""What changed between two states."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from test_outline import Order, stored

from checkpoints.difference import changed_channels, channel_change, difference

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def lines(before: Any, after: Any) -> list[str]:
    return [f"{line.sign}{line.path} {line.text}" for line in difference(stored(before), stored(after))]


def as_json(value: Any) -> str:
    """Write a value as it is told apart: to Python, False is 0 and True is 1."""
    return json.dumps(value, sort_keys=True)


def test_channels_that_came_went_and_changed_are_named() -> None:
    assert changed_channels({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 9, "d": 4}) == ["b", "d", "c"]


def test_a_changed_field_is_shown_with_its_path() -> None:
    assert lines({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}) == ["-a.b[1] 2", "+a.b[1] 3"]


def test_an_object_of_one_class_is_compared_by_its_fields() -> None:
    assert lines(Order(id="7", paid=1), Order(id="8", paid=1)) == ['-id "7"', '+id "8"']


def test_a_new_object_is_shown_field_by_field() -> None:
    assert lines(None, Order(id="7", paid=1)) == ["- null", '+id "7"', "+paid 1"]


def test_what_was_inserted_in_a_list_is_shown_alone() -> None:
    assert lines([1, 2, 3, 4], [1, 2, 9, 3, 4]) == ["+[2] 9"]


def test_messages_are_told_apart_by_id() -> None:
    before = [HumanMessage("one", id="1"), AIMessage("two", id="2"), AIMessage("three", id="3")]
    after = [HumanMessage("one", id="1"), AIMessage("two, better", id="2"), AIMessage("four", id="4")]
    change = channel_change("messages", {"messages": stored(before)}, {"messages": stored(after)})
    assert [(item.sign, item.message.text) for item in change.messages] == [
        ("-", "three"),
        ("~", "two, better"),
        ("+", "four"),
    ]
    assert change.total == 3


def test_a_long_difference_is_cut_and_says_so() -> None:
    change = channel_change("rows", {"rows": [0] * 900}, {"rows": [1] * 900})
    assert change.cut
    assert len(change.lines) == 200


@given(VALUES, VALUES)
@example([True, False], [1, 0])
def test_equal_values_differ_in_nothing_and_others_in_something(before: Any, after: Any) -> None:
    assert bool(list(difference(before, after))) == (as_json(before) != as_json(after))
