"""Values of real graphs, read without building any of their objects."""

from __future__ import annotations

from pathlib import PosixPath
from typing import TYPE_CHECKING, Any

import inert_graphs
import numpy as np
import ormsgpack
import pytest
from inert_graphs import ZOO, fill
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from checkpoints.inert import (
    Constructed,
    DeltaSnapshot,
    Extension,
    InertSerializer,
    Kind,
    NumpyArray,
    Unreadable,
    channel_spans,
    opened,
)

if TYPE_CHECKING:
    from pathlib import Path

Row = tuple[str, bytes]
INERT = InertSerializer()
OFFICIAL = JsonPlusSerializer()


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    path: Path = tmp_path_factory.mktemp("warehouse") / "warehouse.sqlite"
    fill(path)
    return inert_graphs.rows(path)


@pytest.fixture(scope="session")
def checkpoints(rows: list[Row]) -> list[bytes]:
    return [raw for type_, raw in rows if type_ == "msgpack" and b"channel_values" in raw]


def look(name: str) -> Any:
    """Return a value of the zoo as read from a row of the official serializer."""
    return opened(INERT.loads_typed(OFFICIAL.dumps_typed([ZOO[name]]))[0])


def test_it_is_a_serializer_of_langgraph() -> None:
    assert isinstance(INERT, SerializerProtocol)


def test_the_rows_hold_every_type_and_every_extension_code(rows: list[Row]) -> None:
    assert {type_ for type_, _ in rows} == {"msgpack", "null", "bytes", "bytearray"}
    codes: set[int] = set()

    def collect(code: int, data: bytes) -> None:
        codes.add(code)
        ormsgpack.unpackb(data, ext_hook=collect, option=ormsgpack.OPT_NON_STR_KEYS)

    for type_, raw in rows:
        if type_ == "msgpack":
            ormsgpack.unpackb(raw, ext_hook=collect, option=ormsgpack.OPT_NON_STR_KEYS)
    assert codes == {kind.value for kind in Kind} - {Kind.PYDANTIC_V1}


def test_every_row_goes_back_byte_for_byte(rows: list[Row]) -> None:
    for row in rows:
        assert INERT.dumps_typed(INERT.loads_typed(row)) == row


def test_a_copy_that_forgot_its_row_still_packs_to_the_same_bytes(checkpoints: list[bytes]) -> None:
    for raw in checkpoints:
        assert INERT.dumps_typed(dict(INERT.loads_typed(("msgpack", raw)))) == ("msgpack", raw)


@pytest.mark.parametrize(
    ("name", "module", "cls", "payload"),
    [
        ("enum", "inert_graphs", "Zone", "cold"),
        ("uuid", "uuid", "UUID", "00000000000000000000000000000005"),
        ("decimal", "decimal", "Decimal", "1.10"),
        ("set", "builtins", "set", [1]),
        ("frozenset", "builtins", "frozenset", ["q"]),
        ("deque", "collections", "deque", [1, 2]),
        ("zone", "zoneinfo", "ZoneInfo", "Europe/Oslo"),
        ("ip", "ipaddress", "IPv6Address", "::1"),
        ("network", "ipaddress", "IPv4Network", "10.0.0.0/8"),
        ("secret", "pydantic.types", "SecretStr", "hush"),
    ],
)
def test_a_constructor_of_one_argument_is_named(name: str, module: str, cls: str, payload: Any) -> None:
    assert look(name) == Constructed(Kind.SINGLE, module, cls, payload)


@pytest.mark.parametrize(
    ("name", "module", "cls", "payload"),
    [
        ("path", PosixPath.__module__, "PosixPath", ["/", "tmp", "a"]),
        ("regex", "re", "compile", ["a+", 34]),
        ("timedelta", "datetime", "timedelta", [1, 2, 0]),
        ("date", "datetime", "date", [2026, 1, 2]),
        ("send", "langgraph.types", "Send", ["store", {"x": 1}]),
    ],
)
def test_a_constructor_of_several_is_named(name: str, module: str, cls: str, payload: Any) -> None:
    assert look(name) == Constructed(Kind.POSITIONAL, module, cls, payload)


def test_a_method_is_named() -> None:
    stamp = "2026-01-02T00:00:00+00:00"
    assert look("datetime") == Constructed(Kind.METHOD, "datetime", "datetime", stamp, "fromisoformat")


def test_a_pydantic_model_shows_its_fields() -> None:
    fields = {"label": "<b>Ω</b>", "size": 2}
    expected = Constructed(Kind.PYDANTIC_V2, "inert_graphs", "Crate", fields, "model_validate_json")
    assert look("pydantic") == expected


def test_what_is_within_an_object_stays_closed() -> None:
    pallet = look("dataclass")
    assert (pallet.kind, pallet.name) == (Kind.KEYWORDS, "Pallet")
    assert isinstance(pallet.payload["crates"][0], Extension)
    assert opened(pallet.payload["due"]).payload == [2026, 2, 3]


@pytest.mark.parametrize("name", ["numpy", "fortran"])
def test_an_array_keeps_its_elements(name: str) -> None:
    array = look(name)
    assert isinstance(array, NumpyArray)
    rebuilt = np.frombuffer(array.raw, array.dtype).reshape(array.shape, order=array.order)
    assert np.array_equal(rebuilt, ZOO[name])


def test_a_delta_snapshot_holds_the_whole_channel(checkpoints: list[bytes]) -> None:
    logs = [INERT.loads_typed(("msgpack", raw))["channel_values"].get("log") for raw in checkpoints]
    assert DeltaSnapshot(["in", "stored", "stored"]) in [opened(log) for log in logs]


def test_extensions_are_equal_by_content() -> None:
    assert Extension(0, b"a") == Extension(0, b"a") != Extension(1, b"a")
    assert len({Extension(0, b"a"), Extension(0, b"a"), Extension(0, b"b")}) == 2


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        (9, ["a", "b", 1]),
        (-1, ["a", "b", 1]),
        (0, 1),
        (0, ["a", "b"]),
        (1, ["a", "b", 1]),
        (2, ["a", "b", [1]]),
        (5, ["a", 1, {}]),
        (6, ["<i4", [1], "C", "text"]),
    ],
)
def test_only_the_malformed_object_is_unreadable(code: int, payload: Any) -> None:
    raw = ormsgpack.packb(payload)
    broken = opened(Extension(code, raw))
    assert isinstance(broken, Unreadable)
    assert (broken.code, broken.raw) == (code, raw)
    assert broken.reason


def test_an_unknown_extension_goes_back_as_it_was() -> None:
    row = ("msgpack", b"\x82\xa1a\xd6\xff\x00\x00\x00\x01\xa1b\xd4\x63\x01")
    value = INERT.loads_typed(row)
    assert value == {"a": Extension(-1, b"\0\0\0\1"), "b": Extension(0x63, b"\1")}
    assert INERT.dumps_typed(value) == row


def test_the_official_serializer_reads_a_changed_checkpoint(checkpoints: list[bytes]) -> None:
    value = INERT.loads_typed(("msgpack", checkpoints[-1]))
    value["channel_values"]["messages"] = ["changed"]
    read = OFFICIAL.loads_typed(INERT.dumps_typed(value))["channel_values"]
    assert read["messages"] == ["changed"]
    assert read["zoo"]["dataclass"] == ZOO["dataclass"]


def test_one_and_true_are_different_changes() -> None:
    value = INERT.loads_typed(("msgpack", b"\x81\xa1a\x01"))
    value["a"] = True
    assert INERT.dumps_typed(value) == ("msgpack", b"\x81\xa1a\xc3")


def test_an_unusual_encoding_of_an_unchanged_value_is_kept() -> None:
    row = ("msgpack", b"\xde\x00\x01\xd9\x01a\xcd\x00\x01")
    value = INERT.loads_typed(row)
    assert value == {"a": 1}
    assert INERT.dumps_typed(value) == row
    value["a"] = 2
    assert INERT.dumps_typed(value) == ("msgpack", b"\x81\xa1a\x02")


@pytest.mark.parametrize("value", [object(), ZOO["datetime"], ZOO["uuid"], ZOO["enum"], 2**70])
def test_an_object_of_the_program_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="A row cannot hold"):
        INERT.dumps_typed({"a": value})


def test_the_spans_of_the_channels_are_their_own_encodings(checkpoints: list[bytes]) -> None:
    for raw in checkpoints:
        values = INERT.loads_typed(("msgpack", raw))["channel_values"]
        encoded = {name: INERT.dumps_as("msgpack", value) for name, value in values.items()}
        assert channel_spans(raw) == encoded


@pytest.mark.parametrize("blob", [b"", b"\x01", b"{}", b"\x80", b"\x81\xaechannel_values\x01", b"\xc1" * 9])
def test_what_is_no_checkpoint_has_no_spans(blob: bytes) -> None:
    assert channel_spans(blob) is None
