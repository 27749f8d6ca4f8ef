"""SQLite keeps a number in a BLOB column as it is."""

from __future__ import annotations

from typing import Any

import pytest

from checkpoints.inert import InertSerializer, Rotten


@pytest.mark.parametrize("type_", ["msgpack", "bytes", "json", "null", "msgpack+aes"])
@pytest.mark.parametrize("number", [7, 2**40, 2.5])
def test_a_number_where_bytes_should_be_is_rotten(type_: str, number: Any) -> None:
    found = InertSerializer().loads_typed((type_, number))
    assert isinstance(found, Rotten)
    assert found.reason == "it is stored as a number"
    assert InertSerializer().dumps_as(type_, found) == number


@pytest.mark.parametrize("number", [7, 2**62, 2.5])
def test_metadata_that_is_a_number_is_rotten(number: Any) -> None:
    assert isinstance(InertSerializer().loads_metadata(number), Rotten)
