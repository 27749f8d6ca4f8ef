"""Big, deep, wide, damaged and random values: what is read stays within the budget, and nothing is lost."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoints.inert import (
    Budget,
    Deferred,
    Extension,
    InertSerializer,
    NumpyArray,
    Pickled,
    Rotten,
    channel_spans,
    opened,
)

INERT = InertSerializer()
TYPES = ("msgpack", "json", "pickle", "null", "bytes", "bytearray", "msgpack+aes", "json+aes")
examples = settings(deadline=None, max_examples=60)
SMALL = InertSerializer(budget=Budget(bytes=4000, inline=100, nodes=50, depth=5))


def pack(value: Any) -> bytes:
    def extension(given: Any) -> ormsgpack.Ext:
        return ormsgpack.Ext(given.code, given.raw)

    return ormsgpack.packb(value, default=extension, option=ormsgpack.OPT_NON_STR_KEYS)


def checkpoint(**channels: Any) -> bytes:
    return pack({"v": 4, "channel_values": channels, "channel_versions": {"a": 1}})


def read(blob: bytes, serializer: InertSerializer = SMALL) -> Any:
    """Read a row, and check that it goes back."""
    value = serializer.loads_typed(("msgpack", blob))
    assert serializer.dumps_typed(value) == ("msgpack", blob)
    return value


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.builds(Extension, st.integers(0, 127), st.binary())
)
keys = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text("abcé😀") | st.binary()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=40)


@examples
@given(values)
def test_any_value_goes_back_byte_for_byte(value: Any) -> None:
    raw = pack(value)
    read_back = INERT.loads_typed(("msgpack", raw))
    assert INERT.dumps_as("msgpack", read_back) == raw


@examples
@given(values)
def test_any_value_goes_back_from_a_small_budget(value: Any) -> None:
    raw = pack(value)
    assert SMALL.dumps_as("msgpack", SMALL.loads_typed(("msgpack", raw))) == raw


@examples
@given(st.dictionaries(st.text("abc"), values))
def test_spans_are_the_bytes_of_any_channel(channels: dict[str, Any]) -> None:
    assert channel_spans(checkpoint(**channels)) == {name: pack(value) for name, value in channels.items()}


@examples
@given(st.sampled_from(TYPES), st.binary())
def test_random_bytes_never_raise_and_go_back(type_: str, raw: bytes) -> None:
    value = INERT.loads_typed((type_, raw))
    opened(value)
    channel_spans(raw)
    if isinstance(value, Pickled):
        value.listing()
    assert INERT.dumps_as(type_, value) == raw or type_ in ("null", "json")


@examples
@given(values, st.data())
def test_truncated_values_never_raise(value: Any, data: st.DataObject) -> None:
    raw = pack({"channel_values": {"a": value}})
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    assert isinstance(read(cut, INERT), Rotten)
    assert isinstance(read(cut, SMALL), Rotten)
    assert channel_spans(cut) is None


@examples
@given(st.integers(-128, 127), st.binary())
def test_opening_any_extension_never_raises(code: int, payload: bytes) -> None:
    opened(Extension(code, payload))
    opened(Extension(code, pack(["m", "n", payload, payload])))


def test_a_big_channel_is_deferred_and_its_neighbours_are_read() -> None:
    value = read(checkpoint(big="é" * 200, small=[1], data=b"x" * 200, many=[0] * 60))
    channels = value["channel_values"]
    assert channels["small"] == [1]
    assert value["channel_versions"] == {"a": 1}
    assert (channels["big"].size, channels["big"].head(3)) == (403, "ééé")
    assert channels["data"].head(3) == b"xxx"
    assert channels["big"].open() == "é" * 200
    assert channels["many"].head(3) is None
    assert channels["many"].open() == [0] * 60


def test_big_channels_do_not_cost_the_fields_of_the_checkpoint() -> None:
    value = read(checkpoint(**{name: [0] * 30 for name in "abcdef"}))
    assert value["channel_versions"] == {"a": 1}
    assert sum(isinstance(channel, Deferred) for channel in value["channel_values"].values()) >= 5


def test_a_row_that_is_one_big_string_is_deferred() -> None:
    value = read(pack("x" * 200))
    assert isinstance(value, Deferred)
    assert value.open() == "x" * 200


def test_more_bytes_than_the_budget_are_not_decoded() -> None:
    value = read(checkpoint(a="x" * 5000))
    assert isinstance(value, Rotten)
    assert "more than the 4,000" in value.reason
    assert channel_spans(checkpoint(a="x" * 5000), SMALL.budget) is None


@pytest.mark.parametrize("depth", [200, 255, 256, 1000, 1022, 5000, 100_000])
def test_only_the_channel_nested_too_deep_is_rotten(depth: int) -> None:
    deep = b"\x91" * depth + b"\xc0"
    value = read(b"\x81\xaechannel_values\x82\xa1a" + deep + b"\xa1b\x01", INERT)["channel_values"]
    assert isinstance(value["a"], Rotten)
    assert value["a"].raw == deep
    assert value["b"] == 1


@pytest.mark.parametrize(("depth", "readable"), [(200, True), (201, False)])
@pytest.mark.parametrize(("level", "leaf"), [(b"\x91", b"\xc0"), (b"\x81\x01", b"\xc0")])
def test_the_depth_of_the_budget_is_exact(level: bytes, leaf: bytes, depth: int, readable: bool) -> None:
    value = Deferred("msgpack", level * depth + leaf).open(Budget(depth=200))
    assert isinstance(value, list | dict)
    assert ("Rotten" in repr(value)) is not readable


def test_deep_keys_are_refused() -> None:
    assert isinstance(read(b"\x81" + b"\x91" * 300 + b"\x01\x02", INERT), Rotten)


def test_only_the_channel_with_a_damaged_string_is_rotten() -> None:
    value = read(b"\x81\xaechannel_values\x82\xa1a\xa1\xff\xa1b\x01", INERT)["channel_values"]
    assert isinstance(value["a"], Rotten)
    assert value["b"] == 1


@pytest.mark.parametrize("header", [b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"])
def test_a_claim_of_four_billion_allocates_nothing(header: bytes) -> None:
    blob = header + b"\xff\xff\xff\xff\x00"
    assert isinstance(read(blob, INERT), Rotten)
    assert channel_spans(b"\x81\xaechannel_values" + blob) is None


@pytest.mark.parametrize(
    "unit", [b"\x80", b"\x90", b"\x81\xc0\xc0", b"\xc7\x00\x00", b"\x92\x91\xa1a\x81\xa1a\x90"]
)
def test_a_bomb_of_tiny_values_costs_no_more_than_the_budget(unit: bytes) -> None:
    count = (1 << 17) // len(unit)
    blob = b"\xdd" + count.to_bytes(4) + unit * count
    patient = InertSerializer(budget=Budget(inline=1 << 17, nodes=25_000, seconds=600))
    tracemalloc.start()
    value = patient.loads_typed(("msgpack", blob))
    channel = patient.loads_typed(("msgpack", b"\x82\xaechannel_values\x81\xa1a" + blob + b"\xa1v\x01"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(value, Rotten) or isinstance(value[-1], Deferred)
    assert isinstance(channel["channel_values"]["a"], Deferred)
    assert channel["v"] == 1
    assert peak < 6 << 20


def test_a_bomb_within_an_object_goes_off_only_within_its_budget() -> None:
    bomb = Extension(7, b"\xdd\x00\x0f\x00\x00" + b"\x80" * 0xF0000)
    assert read(pack({"a": bomb}), INERT) == {"a": bomb}
    assert not hasattr(bomb.open(), "value")


def test_looking_through_a_value_ends_at_the_deadline() -> None:
    hurried = InertSerializer(budget=Budget(inline=100, seconds=0))
    value = read(b"\xdc\xff\xff" + b"\xa1a" * 0xFFFF, hurried)
    assert isinstance(value, Rotten)
    assert "longer than 0 s" in value.reason


def test_a_big_array_within_an_object_keeps_its_elements() -> None:
    array = Extension(6, pack(["<f8", [1000], "C", bytes(8000)])).open(Budget(inline=100))
    assert array == NumpyArray("<f8", (1000,), "C", bytes(8000))


@pytest.mark.parametrize("item", [1.5, 7, -1, None, True, math.nan, "text", b"\x00", [1.5] * 20, {"a": 1}])
@pytest.mark.parametrize("count", [15, 16, 17, 1023, 1024, 1025, 70_000])
def test_ends_are_found_behind_long_runs(item: Any, count: int) -> None:
    blob = checkpoint(a=[item] * count, b=[*[1.5] * count, 1, *[2] * count], c="end")
    spans = channel_spans(blob, Budget(seconds=60))
    assert spans is not None
    assert spans["a"] == pack([item] * count)
    assert spans["c"] == pack("end")
