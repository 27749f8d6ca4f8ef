"""The PostgreSQL of the tests: a test finds nothing of another one, and without a server all of them fail."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from postgres import Databases, Server, server

USED = "CREATE SCHEMA other; CREATE TABLE other.left_over (); CREATE TABLE checkpoints ();"
FOUND = "SELECT relname FROM pg_class WHERE relname IN ('left_over', 'checkpoints')"


def test_a_database_is_empty_whatever_a_test_before_left_in_it(postgres: Databases) -> None:
    with postgres.database() as first, psycopg.connect(first, autocommit=True) as left_open:
        left_open.execute(USED)
        left_open.execute(f"ALTER DATABASE {left_open.info.dbname} SET default_transaction_read_only = on")
    with postgres.database() as second, psycopg.connect(second) as conn:
        assert second == first
        assert conn.execute(FOUND).fetchall() == []
        conn.execute("CREATE TABLE checkpoints ()")


def test_two_databases_know_nothing_of_each_other(postgres: Databases, database: str) -> None:
    with postgres.database() as other, psycopg.connect(other, autocommit=True) as conn:
        conn.execute(USED)
        with psycopg.connect(database) as first:
            assert first.execute(FOUND).fetchall() == []


def test_a_server_of_ones_own_keeps_its_rows_when_it_is_stopped_and_started() -> None:
    with server() as own:
        with psycopg.connect(own.url) as conn:
            conn.execute("CREATE TABLE kept AS SELECT 1")
        own.stop()
        own.start()
        with psycopg.connect(own.url) as conn:
            assert conn.execute("TABLE kept").fetchall() == [(1,)]
    assert not own.folder.exists()


STARTS = """
import sys, time
from postgres import server

with server() as own:
    print(own.url, own.folder, flush=True)
    time.sleep(60)
"""


def test_a_server_ends_when_the_tests_are_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTS], env=environment, stdout=subprocess.PIPE, text=True
    )
    url, folder = starter.stdout.readline().split() if starter.stdout else ("", "")
    with psycopg.connect(url, autocommit=True) as conn:
        starter.kill()
        starter.communicate()
        for _ in range(500):
            if not Path(folder).exists():
                break
            time.sleep(0.02)
        assert not Path(folder).exists()
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")


def test_a_server_is_for_its_user_only() -> None:
    with server() as own:
        assert own.data.stat().st_mode & 0o077 == 0
        with psycopg.connect(own.url) as conn:
            assert conn.execute("SHOW listen_addresses").fetchone() == ("",)
        assert isinstance(own, Server)


def test_without_a_server_the_tests_fail_with_a_sentence(tmp_path: Path) -> None:
    test = "tests/test_postgres_server.py::test_two_databases_know_nothing_of_each_other"
    nowhere = {**os.environ, "TEST_POSTGRES_URL": f"postgresql://postgres@/postgres?host={tmp_path}"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[1], env=nowhere, stdout=subprocess.PIPE, text=True, check=False
    )
    assert ended.returncode == 1
    assert "The tests need PostgreSQL: TEST_POSTGRES_URL names a server that does not answer" in ended.stdout
    assert "skipped" not in ended.stdout
