"""Attempts to log in are counted exactly, by all servers together, in each database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from explorer.models import LoginAttempts
from explorer.people import throttle
from explorer.people.throttle import OF_ACCOUNT, OF_BOTH, WINDOW, TooManyAttempts


@pytest.fixture(autouse=True, params=["app_database", "app_in_postgres"])
def _database(request: pytest.FixtureRequest) -> None:
    """An empty database of the app, of each kind."""
    request.getfixturevalue(request.param)


def admitted(name: str, address: str) -> bool:
    """Try once, as a request does, and tell whether the password would have been looked at."""
    try:
        throttle.count(name, address)
    except TooManyAttempts:
        return False
    finally:
        connection.close()
    return True


def test_attempts_at_once_are_counted_one_by_one() -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(admitted, ["ana"] * 24, ["192.0.2.1"] * 24))
    assert sum(found) == OF_BOTH


def test_attempts_on_an_account_from_everywhere_at_once_are_too() -> None:
    addresses = [f"192.0.2.{number}" for number in range(OF_ACCOUNT + 14)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(admitted, ["ana"] * len(addresses), addresses))
    assert sum(found) == OF_ACCOUNT


def test_the_right_password_takes_its_attempt_back() -> None:
    for _ in range(3 * OF_ACCOUNT):
        assert admitted("ana", "192.0.2.1")
        throttle.forgive("ana", "192.0.2.1")
    assert sum(row.failures for row in LoginAttempts.objects.all()) == 0


def test_a_window_that_is_over_counts_no_more_and_is_forgotten() -> None:
    for number in range(OF_BOTH + 1):
        assert admitted("ana", "192.0.2.1") == (number < OF_BOTH)
    LoginAttempts.objects.update(since=timezone.now() - WINDOW - timedelta(seconds=1))
    assert admitted("ana", "192.0.2.1")
    LoginAttempts.objects.update(since=timezone.now() - 3 * WINDOW)
    assert admitted("ben", "192.0.2.2")
    assert LoginAttempts.objects.count() == 3
