"""JSON, pickle, encrypted and rotten rows, and metadata."""

from __future__ import annotations

import json
import pickle
import sys
from typing import Any

import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from checkpoints.errors import KeyUnusable
from checkpoints.inert import (
    Budget,
    Constructed,
    Encrypted,
    InertSerializer,
    Kind,
    Pickled,
    Rotten,
    opened,
)

KEY = b"sixteen byte key"
INERT = InertSerializer()
WITH_KEY = InertSerializer(KEY)
OFFICIAL = EncryptedSerializer.from_pycryptodome_aes(key=KEY)


def json_row(text: str) -> Any:
    return INERT.loads_typed(("json", text.encode()))


def call(*path: str, **more: Any) -> dict[str, Any]:
    return {"lc": 2, "type": "constructor", "id": list(path), "method": None, "args": [], "kwargs": {}} | more


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            call("m", "n", "Message", lc=1, kwargs={"a": 1}),
            Constructed(Kind.KEYWORDS, "m.n", "Message", {"a": 1}),
        ),
        (call("m", "Empty"), Constructed(Kind.KEYWORDS, "m", "Empty", {})),
        (call("uuid", "UUID", args=["05"]), Constructed(Kind.SINGLE, "uuid", "UUID", "05")),
        (call("Map", args=[[["k", 1]]]), Constructed(Kind.SINGLE, "", "Map", [["k", 1]])),
        (call("m", "timedelta", args=[0, 1]), Constructed(Kind.POSITIONAL, "m", "timedelta", [0, 1])),
        (
            call("builtins", "bytes", method="fromhex", args=["ff"]),
            Constructed(Kind.METHOD, "builtins", "bytes", "ff", "fromhex"),
        ),
        (
            call("m", "Model", method=[None, "construct"], kwargs={"a": 1}),
            Constructed(Kind.KEYWORDS, "m", "Model", {"a": 1}, "construct"),
        ),
        (
            call("m", "Both", args=[1], kwargs={"a": 1}),
            Constructed(Kind.KEYWORDS, "m", "Both", {"args": [1], "kwargs": {"a": 1}}),
        ),
        ({"lc": 2, "type": "undefined"}, Constructed(Kind.SINGLE, "", "undefined", None)),
        (
            {"lc": 1, "type": "not_implemented", "id": ["m", "Client"], "repr": "<Client>"},
            Constructed(Kind.SINGLE, "m", "Client", "<Client>"),
        ),
        (
            {"lc": 1, "type": "secret", "id": ["KEY"]},
            Constructed(Kind.SINGLE, "langchain", "secret", "KEY"),
        ),
        (call("os") | {"id": "os.system"}, None),
        (call("os") | {"id": ["os", 1]}, None),
        (call("os", kwargs=3), None),
        ({"a": 1}, None),
    ],
)
def test_json_constructors_have_the_view_of_msgpack_ones(given: Any, expected: Constructed | None) -> None:
    assert opened(json_row(json.dumps(given))) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '{"a":1,"b":[1.0,true,null]}',
        '{"a":1,"a":2}',
        '["\\u00e9",1e5]',
        "[NaN]",
        '["\\ud83d\\ude00"]',
    ],
)
def test_an_unchanged_json_row_goes_back_byte_for_byte(text: str) -> None:
    value = json_row(text)
    assert INERT.dumps_typed(value) == ("json", text.encode())


def test_a_changed_json_row_stays_json() -> None:
    value = json_row('{"é":1}')
    value["é"] = True
    assert INERT.dumps_typed(value) == ("json", '{"é": true}'.encode())


@pytest.mark.parametrize("text", ['"__start__"', "42", "null", "1.5", "true"])
def test_a_plain_value_is_written_in_the_format_of_its_row(text: str) -> None:
    assert INERT.dumps_as("json", json_row(text)) == text.encode()


def test_json_stored_as_text_is_read_and_goes_back_as_text() -> None:
    value = INERT.loads_typed(("json", '{"a": 1}'))  # type: ignore[arg-type]
    assert value == {"a": 1}
    assert INERT.dumps_typed(value) == ("json", '{"a": 1}')


def test_a_lone_surrogate_can_be_sent_to_a_page() -> None:
    assert json_row(r'["\ud800", "\ud83d\ude00", "\\ud800", "\uDc00"]') == [
        "\ufffd",
        "😀",
        "\\ud800",
        "\ufffd",
    ]


def test_only_an_integer_too_long_is_rotten() -> None:
    digits = "9" * (sys.get_int_max_str_digits() + 1)
    row = ("json", f'{{"a": {digits}, "b": 1}}'.encode())
    value = INERT.loads_typed(row)
    assert isinstance(value["a"], Rotten)
    assert value["b"] == 1
    assert INERT.dumps_typed(value) == row


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"a": \xff}', "[1]".encode("utf-16"), b"\xef\xbb\xbf[]", b"[" * 5000, b"[1,]"]
)
def test_a_damaged_json_row_is_rotten_and_goes_back(raw: bytes) -> None:
    value = INERT.loads_typed(("json", raw))
    assert isinstance(value, Rotten)
    assert INERT.dumps_typed(value) == ("json", raw)


def test_brackets_within_strings_are_not_nesting() -> None:
    text = '["' + "[" * 5000 + '\\"", "' + "{" * 5000 + '"]'
    assert json_row(text) == ["[" * 5000 + '"', "{" * 5000]


def test_json_wider_than_the_budget_is_rotten() -> None:
    inert = InertSerializer(budget=Budget(nodes=100))
    assert isinstance(inert.loads_typed(("json", b"[" + b"[]," * 100 + b"0]")), Rotten)
    assert inert.loads_typed(("json", b'["' + b"," * 1000 + b'"]')) == ["," * 1000]


class Crash:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit",)


def test_a_pickle_is_listed_and_goes_back() -> None:
    raw = pickle.dumps({"a": Crash()})
    value = INERT.loads_typed(("pickle", raw))
    assert isinstance(value, Pickled)
    listing = value.listing()
    assert any("'exec'" in line for line in listing)
    assert listing[-1].endswith("STOP")
    assert INERT.dumps_typed(value) == ("pickle", raw)


def test_a_long_listing_says_that_it_goes_on() -> None:
    listing = Pickled(pickle.dumps(list(range(500)))).listing(limit=10)
    assert len(listing) == 11
    assert listing[-1] == "… more follows"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        pickle.dumps([1, 2])[:-1],
        b"I" + b"9" * 9000 + b"\n.",
        b"S'\\d\\777'\n.",
        b"V\\ud800\\uXXXX\n.",
        b"\x8e" + b"\xff" * 8,
        b"F1_\n.",
    ],
)
def test_the_listing_of_a_damaged_pickle_ends_with_the_damage(raw: bytes) -> None:
    assert Pickled(raw).listing()[-1].startswith("… damaged here")


def test_a_huge_number_in_a_pickle_is_listed_by_its_size() -> None:
    assert any("bits" in line for line in Pickled(pickle.dumps(1 << 50_000)).listing())


@pytest.mark.parametrize("value", [{"a": [1]}, ["x"], "text", None, b"raw", bytearray(b"raw")])
def test_official_encrypted_rows_are_read_with_the_key(value: Any) -> None:
    assert WITH_KEY.loads_typed(OFFICIAL.dumps_typed(value)) == value


@pytest.mark.parametrize("value", [{"a": [1]}, "text", None, b"raw"])
def test_a_serializer_with_a_key_writes_what_the_official_one_reads(value: Any) -> None:
    type_, raw = WITH_KEY.dumps_typed(value)
    assert type_.endswith("+aes")
    assert OFFICIAL.loads_typed((type_, raw)) == value


def test_an_unchanged_encrypted_row_keeps_its_nonce() -> None:
    row = OFFICIAL.dumps_typed({"a": 1})
    value = WITH_KEY.loads_typed(row)
    assert WITH_KEY.dumps_typed(value) == row
    value["a"] = 2
    assert OFFICIAL.loads_typed(WITH_KEY.dumps_typed(value)) == {"a": 2}


def test_a_plain_row_is_written_encrypted_when_there_is_a_key() -> None:
    value = WITH_KEY.loads_typed(("msgpack", b"\x81\xa1a\x01"))
    assert OFFICIAL.loads_typed(WITH_KEY.dumps_typed(value)) == {"a": 1}


def test_without_the_key_a_row_stays_closed_and_goes_back() -> None:
    type_, raw = OFFICIAL.dumps_typed({"a": 1})
    value = INERT.loads_typed((type_, raw))
    assert value == Encrypted("msgpack", "aes", raw)
    assert INERT.dumps_typed(value) == (type_, raw)


@pytest.mark.parametrize("serializer", [INERT, WITH_KEY])
def test_an_unknown_cipher_stays_closed(serializer: InertSerializer) -> None:
    value = serializer.loads_typed(("msgpack+rot13", b"abc"))
    assert value == Encrypted("msgpack", "rot13", b"abc")
    assert serializer.dumps_typed(value) == ("msgpack+rot13", b"abc")


@pytest.mark.parametrize("raw", [b"", b"x" * 31, b"x" * 99])
def test_a_row_that_the_key_does_not_open_is_rotten_and_goes_back(raw: bytes) -> None:
    value = WITH_KEY.loads_typed(("msgpack+aes", raw))
    assert isinstance(value, Rotten)
    assert WITH_KEY.dumps_typed(value) == ("msgpack+aes", raw)


def test_a_wrong_key_says_so() -> None:
    value = InertSerializer(b"another key of16").loads_typed(OFFICIAL.dumps_typed({"a": 1}))
    assert value.reason == "the key does not fit, or the row was changed"


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_AES_KEY", KEY.decode())
    assert InertSerializer.from_environment().loads_typed(OFFICIAL.dumps_typed({"a": 1})) == {"a": 1}
    monkeypatch.delenv("LANGGRAPH_AES_KEY")
    assert not InertSerializer.from_environment().decrypts


def test_a_key_of_another_length_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "short")
    with pytest.raises(KeyUnusable, match="has 5 bytes"):
        InertSerializer.from_environment()


def test_a_key_without_pycryptodome_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Crypto.Cipher", None)
    monkeypatch.setenv("LANGGRAPH_AES_KEY", KEY.decode())
    with pytest.raises(KeyUnusable, match="pycryptodome"):
        InertSerializer.from_environment()


def test_without_pycryptodome_nothing_is_written_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Crypto.Cipher", None)
    inert = InertSerializer(KEY)
    assert isinstance(inert.loads_typed(OFFICIAL.dumps_typed({"a": 1})), Encrypted)
    with pytest.raises(TypeError, match="encrypt"):
        inert.dumps_typed({"a": 1})


@pytest.mark.parametrize("serializer", [INERT, WITH_KEY])
@pytest.mark.parametrize(
    "row",
    [(None, None), ("msgpack", None), (None, b"\x80"), ("yaml", b"a: 1"), ("", b""), ("msgpack", "text")],
)
def test_a_row_of_no_known_kind_is_rotten_and_goes_back(serializer: InertSerializer, row: Any) -> None:
    value = serializer.loads_typed(row)
    assert isinstance(value, Rotten)
    assert value.reason
    assert serializer.dumps_typed(value) == row


def test_a_value_is_not_written_as_what_it_is_not() -> None:
    for type_, value in (
        ("null", 1),
        ("bytes", "x"),
        ("pickle", {}),
        ("yaml", 1),
        ("json", b"x"),
        ("msgpack+aes", 1),
    ):
        with pytest.raises(TypeError):
            INERT.dumps_as(type_, value)
    with pytest.raises(TypeError):
        INERT.dumps_as("json", Rotten("msgpack", b"\xc1", "…"))


@pytest.mark.parametrize("raw", [b'{"step": 1}', '{"step": 1}'])
def test_metadata_is_a_dict(raw: bytes | str) -> None:
    assert INERT.loads_metadata(raw) == {"step": 1}


def test_metadata_that_is_null_is_empty() -> None:
    assert INERT.loads_metadata(None) == {}


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"null", "{", b'{"a":' * 900 + b"1" + b"}" * 900])
def test_damaged_metadata_is_rotten(raw: bytes | str) -> None:
    value = INERT.loads_metadata(raw)
    assert isinstance(value, Rotten)
    assert value.raw == raw
