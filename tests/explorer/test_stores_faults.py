"""What may happen to a database while it is browsed: a page says so in time, and the next is shown again."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from html import unescape
from http.client import HTTPConnection
from signal import SIGCONT, SIGSTOP
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from graphs import ask_order, official_saver
from postgres import server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import Server

PATIENCE = 8.0  # seconds in which a page is there: 5 until there is a connection, 2 for a lock
PASSWORD = "s3cr3t-of-the-tests"
RULES = "local all postgres trust\nlocal all visitor scram-sha-256\n"
MINE = "application_name = 'checkpoint-explorer'"
END = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {MINE}"
WAITING = f"SELECT pid FROM pg_stat_activity WHERE {MINE} AND wait_event_type = 'Lock'"
OPEN = f"SELECT count(*) FROM pg_stat_activity WHERE {MINE} AND state LIKE 'idle in%'"
LISTED = "/s/shop/threads/"
TIMELINE = f"{LISTED}chat/"


class Fault(NamedTuple):
    """What somebody does, how it is undone, and what a page then says."""

    done: str
    undone: str
    status: int
    sentence: str


LOGIN = "The server of shop refused the user or the password."
FAULTS = {
    "another password": Fault(
        f"ALTER ROLE visitor PASSWORD 'other'; {END}",
        f"ALTER ROLE visitor PASSWORD '{PASSWORD}'",
        422,
        LOGIN,
    ),
    "no login": Fault(
        f"ALTER ROLE visitor NOLOGIN; {END}",
        "ALTER ROLE visitor LOGIN",
        422,
        "The role may not connect to shop.",
    ),
    "no such role": Fault(
        f"ALTER ROLE visitor RENAME TO ghost; {END}",
        f"ALTER ROLE ghost RENAME TO visitor; ALTER ROLE visitor PASSWORD '{PASSWORD}'",
        422,
        LOGIN,
    ),
    "no more permission": Fault(
        "REVOKE SELECT ON checkpoint_blobs FROM visitor",
        "GRANT SELECT ON checkpoint_blobs TO visitor",
        422,
        "The role may not read checkpoint_blobs in shop.",
    ),
    "no table": Fault(
        "ALTER TABLE checkpoint_writes RENAME TO gone",
        "ALTER TABLE gone RENAME TO checkpoint_writes",
        422,
        "shop has no table checkpoint_writes.",
    ),
    "a view that sleeps": Fault(
        """ALTER TABLE checkpoints RENAME TO gone;
        CREATE VIEW checkpoints AS SELECT gone.* FROM gone, pg_sleep(60)""",
        "DROP VIEW checkpoints; ALTER TABLE gone RENAME TO checkpoints",
        422,
        "shop has a checkpoints that is not an ordinary table.",
    ),
}
HELD = {
    "locked": "LOCK TABLE checkpoint_blobs IN ACCESS EXCLUSIVE MODE",
    "migrated": "ALTER TABLE checkpoint_writes ADD COLUMN later text",
}


class Browsed(NamedTuple):
    """An explorer at a database, and the server that something happens to."""

    served: Any
    headers: dict[str, str]
    server: Server
    url: str

    def get(self, page: str) -> tuple[int, str]:
        """Return the status and the text of a page that is there in time and holds no secret."""
        begun = time.monotonic()
        answer = self.served.get(page, **self.headers)
        assert time.monotonic() - begun < PATIENCE
        body = unescape(answer.body.decode())
        assert PASSWORD not in body
        assert "visitor" not in body
        return answer.status, body

    def asked(self, page: str) -> HTTPConnection:
        """Ask for a page, and do not wait for it."""
        connection = HTTPConnection("127.0.0.1", self.served.port)
        connection.request("GET", page, headers=self.headers)
        return connection

    def run(self, sql: str) -> list[Any]:
        """Run SQL as the owner of the database."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            cursor = conn.execute(sql.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def shows(self, *pages: str) -> bool:
        return all(self.get(page)[0] == 200 for page in pages or self.pages())

    def pages(self) -> tuple[str, ...]:
        [(id,)] = self.run("SELECT max(checkpoint_id) FROM checkpoints")
        return (LISTED, TIMELINE, f"{TIMELINE}checkpoints/{id}/", f"{TIMELINE}checkpoints/{id}/raw/")


@pytest.fixture(scope="module")
def browsed(serve: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browsed]:
    """An explorer that came with a password to a server of its own."""
    log = tmp_path_factory.mktemp("faults") / "terminal"
    with server(max_connections="20", superuser_reserved_connections="3") as own:
        with psycopg.connect(own.url, autocommit=True) as conn:
            conn.execute("CREATE DATABASE shop")
            conn.execute(f"CREATE ROLE visitor LOGIN PASSWORD '{PASSWORD}'".encode())
        with official_saver(own.url_of("shop")) as saver:
            ask_order(saver, "chat")
        (own.data / "pg_hba.conf").write_text(RULES)
        with psycopg.connect(own.url_of("shop"), autocommit=True) as conn:
            conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO visitor")
            conn.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)
        told = ("sh", "-c", f'exec "$@" 2> "{log}"', "sh", sys.executable, "manage.py", "explore")
        served = serve(f"postgresql://visitor:{PASSWORD}@/shop?host={own.data}", command=told)
        yield Browsed(served, served.admitted(), own, own.url_of("shop"))
        assert log.read_text() == ""


@pytest.fixture(autouse=True)
def _mended(browsed: Browsed) -> Iterator[None]:
    """After each fault all is as before, without a restart of the explorer."""
    yield
    assert browsed.shows()
    assert browsed.run(OPEN) == [(0,)]


@pytest.mark.parametrize("name", FAULTS)
def test_every_page_says_what_happened(name: str, browsed: Browsed) -> None:
    fault, pages = FAULTS[name], browsed.pages()
    browsed.run(fault.done)
    try:
        for page in pages:
            status, body = browsed.get(page)
            assert status == fault.status
            assert fault.sentence in body
    finally:
        browsed.run(fault.undone)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_stopped_server_is_read_again_when_it_is_back(at_once: bool, browsed: Browsed) -> None:
    pages = browsed.pages()
    assert browsed.shows()
    browsed.server.stop(at_once=at_once)
    try:
        for page in pages:
            status, body = browsed.get(page)
            assert status == 503
            assert "No server answers for shop." in body
    finally:
        browsed.server.start()


def test_a_database_that_has_another_name_is_missing(browsed: Browsed) -> None:
    pages = browsed.pages()
    with psycopg.connect(browsed.server.url, autocommit=True) as conn:
        conn.execute(END.encode())
        conn.execute("ALTER DATABASE shop RENAME TO closed")
        try:
            for page in pages:
                status, body = browsed.get(page)
                assert status == 404
                assert "There is no database shop on this server." in body
        finally:
            conn.execute("ALTER DATABASE closed RENAME TO shop")


@pytest.mark.parametrize("name", HELD)
def test_a_page_waits_two_seconds_for_whoever_holds_a_table(name: str, browsed: Browsed) -> None:
    new = f"{TIMELINE}?before=z{name}"  # a page that nobody remembers
    with psycopg.connect(browsed.url) as holder:
        holder.execute(HELD[name].encode())
        status, body = browsed.get(new)
        assert status == 503
        assert "A table of shop was locked for more than 2 seconds." in body
        holder.rollback()
    assert browsed.shows(new)


@contextmanager
def held(browsed: Browsed) -> Iterator[psycopg.Connection[Any]]:
    """Hold a table that every page reads."""
    with psycopg.connect(browsed.url) as holder:
        holder.execute(HELD["locked"].encode())
        yield holder


def waiting(browsed: Browsed, number: int) -> None:
    """Wait until so many connections of the explorer wait for a lock."""
    for _ in range(500):
        if len(browsed.run(WAITING)) >= number:
            return
        time.sleep(0.005)
    raise AssertionError("nobody waits")


def test_a_connection_that_ends_in_the_middle_of_a_page(browsed: Browsed) -> None:
    with held(browsed), ThreadPoolExecutor(1) as executor:
        page = executor.submit(browsed.get, f"{TIMELINE}?before=zm")
        waiting(browsed, 1)
        browsed.run(END)
        status, body = page.result()
    assert status == 503
    assert "The connection to shop ended in the middle of a read." in body


def test_a_server_that_ends_in_the_middle_of_many_pages(browsed: Browsed) -> None:
    with ThreadPoolExecutor(8) as executor:
        with suppress(psycopg.OperationalError), held(browsed):
            pages = [executor.submit(browsed.get, f"{TIMELINE}?before=z{n}s") for n in range(8)]
            waiting(browsed, 8)
            browsed.server.stop(at_once=True)
        assert {page.result()[0] for page in pages} == {503}
    browsed.server.start()


def test_more_visitors_than_connections_are_all_answered_in_time(browsed: Browsed) -> None:
    with held(browsed), ThreadPoolExecutor(14) as executor:
        pages = list(executor.map(browsed.get, [f"{TIMELINE}?before=z{n}v" for n in range(14)]))
    assert {status for status, _ in pages} == {503}


def test_visitors_who_leave_in_the_middle_of_a_page_leave_nothing_behind(browsed: Browsed) -> None:
    with held(browsed):
        asked = [browsed.asked(f"{TIMELINE}?before=z{n}l") for n in range(8)]
        waiting(browsed, 8)
        for connection in asked:
            connection.close()
        deadline = time.monotonic() + 1.5  # before they would give up by themselves
        while browsed.run(WAITING):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_server_without_a_connection_left_says_so(browsed: Browsed) -> None:
    pages = browsed.pages()
    browsed.run(END)
    with ExitStack() as stack:
        with suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(psycopg.connect(browsed.url))
        for page in pages:
            status, body = browsed.get(page)
            assert status == 503
            assert "The server of shop has no connection left." in body


def test_a_server_that_has_stopped_answering_is_given_up_and_read_again_when_it_goes_on(
    browsed: Browsed,
) -> None:
    assert browsed.server.process
    with held(browsed):
        asked = [browsed.asked(f"{TIMELINE}?before=z{n}f") for n in range(8)]
        waiting(browsed, 8)
    for connection in asked:
        assert connection.getresponse().status == 200
        connection.close()
    backends = browsed.run("SELECT pid FROM pg_stat_activity")  # eight are the explorer's, and idle
    everything = [browsed.server.process.pid, *(pid for (pid,) in backends)]
    signal_all(everything, SIGSTOP)
    try:
        status, body = browsed.get(TIMELINE)
        assert status == 503
        assert "The server of shop did not answer in time." in body
    finally:
        signal_all(everything, SIGCONT)


def signal_all(processes: list[int], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError):  # the one that was asked for the others
            os.kill(process, number)
