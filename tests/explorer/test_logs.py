"""The terminal shows where our code failed, and nothing that a store holds."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest
from django.conf import settings

from explorer.logs import Frames, OwnErrors

if TYPE_CHECKING:
    from django.test import AsyncClient


def record(*, failed: bool) -> logging.LogRecord:
    try:
        raise KeyError(" ".join(("stored", "text")))
    except KeyError:
        trace = sys.exc_info() if failed else None
    return logging.LogRecord(
        "django.request", logging.ERROR, "", 0, "Failed: %s", ("/s/x/threads/ana/",), trace
    )


def test_a_failure_is_shown_by_its_frames_alone() -> None:
    failure = record(failed=True)
    assert OwnErrors().filter(failure)
    text = Frames().format(failure)
    assert "test_logs.py" in text
    assert "builtins.KeyError" in text
    assert "stored text" not in text
    assert "ana" not in text


def test_an_answer_that_is_no_failure_is_not_logged() -> None:
    assert not OwnErrors().filter(record(failed=False))


def test_every_handler_that_writes_has_the_filter() -> None:
    handlers = settings.LOGGING["handlers"].values()
    assert all(handler["filters"] == ["own"] and handler["formatter"] == "frames" for handler in handlers)


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
async def test_pages_answer_only_to_reading(reader: AsyncClient, method: str) -> None:
    response = await reader.generic(method, "/help/")
    assert response.status_code == 405
