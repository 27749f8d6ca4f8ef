"""Several servers over one DATABASE_URL behave as one; without it nothing is shared."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import postgres
import psycopg
import pytest
from django.db import connection

from explorer.installation import LOCK
from explorer.models import Installation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Served

ROOT = Path(__file__).parents[2]
on_both = pytest.mark.parametrize("app_url", ["sqlite", "postgresql"], indirect=True)
COMMAND = (sys.executable, "-m", "explorer")
WAITING = """
SELECT count(*) = 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""


def with_environment(**environment: str) -> tuple[str, ...]:
    return ("env", *(f"{name}={value}" for name, value in environment.items()), *COMMAND)


def execute(url: str, statement: str) -> None:
    """Run SQL on the app's database."""
    path = url.removeprefix("sqlite:///")
    opened: Any = psycopg.connect(url) if path == url else sqlite3.connect(path)
    with closing(opened) as conn, conn:
        conn.execute(statement)


def wait_until(conn: psycopg.Connection, question: str) -> None:
    """Ask the server until the answer is true, for ten seconds at most."""
    for _ in range(200):
        if conn.execute(question).fetchone() == (True,):
            return
        time.sleep(0.05)
    raise TimeoutError(question)


def posted(run: Served, form: str, cookie: str) -> int:
    """Send a form, and return the status of the answer."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    with closing(HTTPConnection("127.0.0.1", run.port, timeout=10)) as connection:
        connection.request("POST", "/help/", form, headers)
        return connection.getresponse().status


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def app_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database for the app itself, in PostgreSQL where a test does not say more."""
    if getattr(request, "param", "") == "sqlite":
        return f"sqlite:///{tmp_path}/app/explorer.sqlite3"
    return str(request.getfixturevalue("database"))


@pytest.fixture
def server(serve: Callable[..., Served], demo_store: Path, app_url: str) -> Iterator[Callable[..., Served]]:
    """Start a server over the database: `server("--token", "x")`."""
    started = []

    def start(*arguments: str, **environment: str) -> Served:
        command = with_environment(DATABASE_URL=app_url, **environment)
        started.append(serve(demo_store, *arguments, command=command))
        return started[-1]

    yield start
    for run in started:
        run.process.terminate()


@pytest.fixture
def complaint(demo_store: Path) -> Callable[[str], str]:
    """Start a server that refuses to start and return what it says."""

    def run(url: str) -> str:
        command = [*with_environment(DATABASE_URL=url), demo_store, "--no-browser", "--port", "0"]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
        return ended.stderr

    return run


@on_both
def test_a_browser_that_one_server_admits_is_admitted_by_the_others(server: Callable[..., Served]) -> None:
    first, second = server(), server()
    assert second.get("/help/", **first.admitted()).status == 200
    assert first.admitted() == second.admitted()
    assert second.get("/help/").status == 403


@on_both
def test_servers_that_start_at_once_agree(server: Callable[..., Served]) -> None:
    with ThreadPoolExecutor() as pool:
        started = list(pool.map(lambda _: server(), range(6)))
    assert len({run.url.partition("token=")[2] for run in started}) == 1
    admitted = started[0].admitted()
    assert [run.get("/help/", **admitted).status for run in started] == [200] * 6


def test_a_server_waits_while_another_prepares_the_database(
    server: Callable[..., Served], app_url: str
) -> None:
    with ThreadPoolExecutor() as pool, psycopg.connect(app_url, autocommit=True) as watching:
        with psycopg.connect(app_url) as preparing:
            preparing.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            starting = pool.submit(server)
            wait_until(watching, WAITING)
            assert not starting.done()
        assert starting.result(timeout=10).get("/").status == 403


def test_a_form_of_one_server_is_accepted_by_another(server: Callable[..., Served]) -> None:
    first, second = server(), server()
    secret = "a" * 32
    cookie = f"{first.admitted()['cookie']}; explorer_csrf={secret}"
    assert posted(second, f"csrfmiddlewaretoken={secret}", cookie) == 405  # admitted, but nothing takes forms
    assert posted(second, "csrfmiddlewaretoken=other", cookie) == 403


def test_servers_without_a_database_share_nothing_but_their_replays(
    serve: Callable[..., Served], demo_store: Path, tmp_path: Path
) -> None:
    command = with_environment(XDG_DATA_HOME=str(tmp_path), HOME=str(tmp_path))
    first, second = serve(demo_store, command=command), serve(demo_store, command=command)
    cookie = first.admitted()["cookie"].partition("=")[2]
    assert second.get("/", cookie=f"explorer_{second.port}={cookie}").status == 403
    [folder] = tmp_path.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert cookie.encode() not in b"".join(file.read_bytes() for file in files)


def test_pages_are_served_where_no_database_can_be_made(
    serve: Callable[..., Served], demo_store: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    run = serve(demo_store, command=with_environment(XDG_DATA_HOME=str(tmp_path / "taken")))
    admitted = run.admitted()
    assert run.get("/s/demo/threads/", **admitted).status == 200
    thread = run.get("/s/demo/threads/refund-1043/", **admitted).body.decode()
    href = re.search(r'href="(/s/demo/threads/refund-1043/checkpoints/[^/"]*/)"', thread)
    assert href
    assert run.get(href[1], **admitted).status == 200
    refused = run.get("/replays/", **admitted)
    assert refused.status == 503
    assert b"The explorer&#x27;s own database cannot be used." in refused.body
    run.process.terminate()
    _, said = run.process.communicate(timeout=10)
    assert said.startswith("Stores can be read, but not changed: ")


def test_a_server_that_starts_again_keeps_the_token(server: Callable[..., Served]) -> None:
    first = server()
    first.process.terminate()
    first.process.wait(timeout=10)
    assert server().url.partition("token=")[2] == first.url.partition("token=")[2]


def test_a_new_token_ends_the_old_one_where_servers_start_again(server: Callable[..., Served]) -> None:
    before, renewing, after = server(), server("--new-token"), server()
    assert renewing.admitted() == after.admitted() != before.admitted()
    assert after.get("/help/", **before.admitted()).status == 403


@pytest.mark.parametrize(
    "chosen", [{"EXPLORER_TOKEN": "of-the-environment"}, {"EXPLORER_SECRET_KEY": "k" * 50}]
)
def test_the_environment_goes_before_the_database(
    server: Callable[..., Served], chosen: dict[str, str]
) -> None:
    shared, first, second = server(), server(**chosen), server(**chosen)
    assert first.admitted() == second.admitted()
    assert shared.get("/help/", **first.admitted()).status == 403


def test_the_command_goes_before_the_environment(server: Callable[..., Served]) -> None:
    assert server("--token", "mine", EXPLORER_TOKEN="other").url.endswith("token=mine")


@on_both
def test_the_database_of_a_newer_release_is_refused(complaint: Callable[[str], str], app_url: str) -> None:
    manage("migrate", DATABASE_URL=app_url)
    execute(
        app_url,
        "INSERT INTO django_migrations VALUES (99, 'checkpoint_explorer', '0999_later', '2040-01-01')",
    )
    assert "was made by a newer release of the explorer. Update this one" in complaint(app_url)


@on_both
def test_the_database_of_an_older_release_is_migrated(server: Callable[..., Served], app_url: str) -> None:
    manage("migrate", DATABASE_URL=app_url)
    assert manage("migrate", "checkpoint_explorer", "zero", DATABASE_URL=app_url).returncode == 0
    assert server().get("/").status == 403


def test_the_migrations_make_what_the_models_say() -> None:
    assert manage("makemigrations", "--check", "--dry-run").returncode == 0


@on_both
def test_no_request_needs_the_database(server: Callable[..., Served], app_url: str) -> None:
    run = server()
    execute(app_url, "DROP TABLE checkpoint_explorer_installation")
    assert run.get("/s/demo/threads/", **run.admitted()).status == 200


def test_a_role_that_may_only_read_starts_servers_after_the_first(
    serve: Callable[..., Served], complaint: Callable[[str], str], demo_store: Path
) -> None:
    with postgres.server() as own:
        execute(own.url, "CREATE ROLE reader LOGIN")
        reading = own.url.replace("//postgres@", "//reader@")
        assert "lets this user not read or make the explorer's tables" in complaint(reading)
        first = serve(demo_store, command=with_environment(DATABASE_URL=own.url))
        execute(own.url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        second = serve(demo_store, command=with_environment(DATABASE_URL=reading))
        assert first.admitted() == second.admitted()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://ana:secret@db.example/app", "is of a kind that is not supported"),
        ("secret", "is of a kind that is not supported"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:////proc/secret/app.sqlite3", "cannot be opened or prepared"),
        ("postgresql://ana:secret@db.example", "names no database"),
        ("postgresql://ana:sec ret@db.example/app", "is not a valid URL of PostgreSQL"),
        ("postgresql://ana:secret@db.example/app?password2=secret", "is not a valid URL of PostgreSQL"),
        ("postgresql://ana:secret@127.0.0.1:1/app", "No server answers for DATABASE_URL."),
        ("postgresql://ana:sec/ret@127.0.0.1:1/secret", "No server answers for DATABASE_URL."),
        ("postgresql://ana:secret%ff@db.example/app", "is not a valid URL of PostgreSQL"),
        ("postgresql://ana:secret@a..b/app", "cannot be opened or prepared"),
        ("sqlite:////secret%00", "names no file"),
    ],
)
def test_an_unusable_database_is_named_without_its_secrets(
    complaint: Callable[[str], str], url: str, reason: str
) -> None:
    said = complaint(url)
    assert reason in said
    assert "secret" not in said
    assert "ana" not in said.replace("manage", "")


def test_a_database_that_is_read_only_is_named(complaint: Callable[[str], str], database: str) -> None:
    said = complaint(
        f"{database}{'&' if '?' in database else '?'}options=-cdefault_transaction_read_only%3Don"
    )
    assert "The database of DATABASE_URL is read-only: a standby, or set so." in said


def test_a_wrong_password_is_named(complaint: Callable[[str], str]) -> None:
    with postgres.server() as own:
        execute(own.url, "CREATE ROLE ana LOGIN PASSWORD 'other'")
        (own.data / "pg_hba.conf").write_text("local all ana scram-sha-256\nlocal all all trust\n")
        execute(own.url, "SELECT pg_reload_conf()")
        said = complaint(own.url.replace("//postgres@", "//ana:secret@"))
    assert "The server of DATABASE_URL refused the user or the password." in said
    assert "secret" not in said


def test_a_file_that_is_no_database_is_refused_and_left(
    complaint: Callable[[str], str], tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("not a database, " * 100)
    assert "cannot be opened or prepared" in complaint(f"sqlite:///{notes}")
    assert notes.read_text() == "not a database, " * 100


def test_the_file_and_its_folders_are_only_its_owners(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        assert manage("migrate", XDG_DATA_HOME=str(tmp_path / "data")).returncode == 0
    finally:
        os.umask(old)
    file = tmp_path / "data/checkpoint-explorer/explorer.sqlite3"
    assert [oct(path.stat().st_mode & 0o777) for path in (file, file.parent, tmp_path / "data")] == [
        "0o600",
        "0o700",
        "0o700",
    ]


VISIT = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1])
conn.execute("SELECT count(*) FROM checkpoint_explorer_replay").fetchone()
conn.close()
"""


def test_a_connection_that_is_opened_beside_another_takes_no_lock_away(app_database: Path) -> None:
    """Who believes to be the last to close a database deletes its log under the others."""
    log = app_database.with_name(f"{app_database.name}-wal")
    Installation.objects.get_or_create(id=1, defaults={"secret_key": "s", "token": "t"})
    held = log.stat().st_ino
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: (connection.ensure_connection(), connection.close())).result()
    subprocess.run([sys.executable, "-c", VISIT, app_database], check=True)
    assert log.stat().st_ino == held
