"""The terminal shows where our code failed, and nothing that a store holds."""

from __future__ import annotations

import logging
import os
import subprocess
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


def said(code: str) -> str:
    """Run code as the command would and return what it prints on the terminal."""
    code = f"import django, logging; django.setup()\n{code}"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "explorer.settings"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert run.stdout == ""
    return run.stderr


def test_pools_of_connections_tell_no_hosts_and_users() -> None:
    warn = "logging.getLogger('psycopg.pool').warning('error connecting: %s', 'db.example as ana')"
    assert said(warn) == ""
    assert said(f"logging.getLogger('psycopg').error('broken'); {warn}") == ""


def test_exceptions_that_libraries_log_are_shown_by_their_frames_alone() -> None:
    text = said("""
try:
    {}["stored " + "text"]
except KeyError as error:
    logging.getLogger("asyncio").error("Task failed: %s", error, exc_info=error)
""")
    assert text.startswith("The explorer failed:\n")
    assert text.endswith("builtins.KeyError\n")
    assert "stored text" not in text


def test_a_refused_host_is_not_printed() -> None:
    assert said("logging.getLogger('django.security.DisallowedHost').error('db.example')") == ""


def test_an_exception_that_nobody_caught_is_shown_by_its_frames_alone() -> None:
    text = said("""
import explorer.command as command, sys
sys.argv = ["checkpoint-explorer", "doctor", "x"]
command.diagnose = lambda location: {}["stored " + "text"]
command.main()
""")
    assert "in doctor" in text
    assert text.endswith("builtins.KeyError\n")
    assert "stored text" not in text


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
async def test_pages_answer_only_to_reading(reader: AsyncClient, method: str) -> None:
    response = await reader.generic(method, "/help/")
    assert response.status_code == 405
