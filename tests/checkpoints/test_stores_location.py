"""What names a store: paths and URLs; a URL's secrets stay in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from checkpoints import errors
from checkpoints.stores import Location

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "name", "text"),
    [
        ("postgresql://u:s3cr3t@db.example/shop", "shop", "postgresql://db.example/shop"),
        ("postgres://u:s3cr3t@db.example:5433/shop", "shop", "postgresql://db.example:5433/shop"),
        ("POSTGRESQL://u:s3cr3t@db.example/a%20b", "a b", "postgresql://db.example/a%20b"),
        ("postgresql://u:s3%40cr3t@[::1]:5433/shop", "shop", "postgresql://[::1]:5433/shop"),
        ("postgresql://u:s3cr3t@a:1,b:2/shop", "shop", "postgresql://a:1,b:2/shop"),
        ("postgresql:///shop?host=/run/pg&password=s3cr3t", "shop", "postgresql:///shop?host=/run/pg"),
        ("postgresql://u@%2Frun%2Fpg/shop", "shop", "postgresql:///shop?host=/run/pg"),
        (
            "postgresql://u:s3cr3t@h/shop?options=-csearch_path%3Dagents&sslpassword=s3cr3t",
            "shop",
            "postgresql://h/shop?options=-csearch_path=agents",
        ),
        ("postgresql://h/shop?options=-cmy.key%3Ds3cr3t", "shop", "postgresql://h/shop"),
        ("postgresql://u:s3cr3t@h", "postgresql", "postgresql://h/postgresql"),
        ("postgresql:///host%3Dh%20password%3Ds3cr3t", "postgresql", "postgresql:///postgresql"),
    ],
)
def test_a_url_is_shown_without_its_secrets(
    url: str, name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGDATABASE", raising=False)
    location = Location.parse(url)
    assert (location.kind, location.name, location.text) == ("postgres", name, text)
    assert location.conninfo.partition("://")[2] == url.partition("://")[2]
    assert SECRET not in repr(location)


@pytest.mark.parametrize(
    "url",
    [
        "postgres:/u:s3cr3t@h/shop",
        "postgresql:u:s3cr3t@h/shop",
        "postgresql+psycopg://u:s3cr3t@h/shop",
        "mysql://u:s3cr3t@h/shop",
        "postgresql://u:s3cr3t@h/shop?sslmod=require",
        "postgresql://u:s3cr3t%zz@h/shop",
        "postgresql://u:1@s3cr3t@h/shop",
        "postgresql://u:1/s3cr3t@h/shop",
        "postgresql://u:s3cr3t/2@h/shop",
        "postgresql://u:s3cr3t\0@h/shop",
        "postgresql://u:s3cr3t\udcff@h/shop",
    ],
)
def test_what_cannot_be_understood_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(errors.UnsupportedLocation) as refused:
        Location.parse(url)
    assert SECRET not in str(refused.value)
    assert refused.value.advice


def test_a_name_cannot_move_the_cursor_of_a_terminal() -> None:
    assert Location.parse("postgresql://h/d%1b%5b2J").name == "d\ufffd[2J"


def test_a_path_is_kept_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    location = Location.parse("folder/x.sqlite")
    assert (location.kind, location.name, location.text) == ("sqlite", "x.sqlite", "folder/x.sqlite")
    assert location.path == str(tmp_path / "folder" / "x.sqlite")


def test_without_psycopg_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(errors.DriverMissing, match=r"langgraph-checkpoint-explorer\[postgres\]"):
        Location.parse("postgresql://h/shop")
