"""Users made at the terminal, and servers that serve them: what is refused, and what is said."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User

from explorer.command import main
from explorer.models import AuditEntry
from explorer.people.sessions import person_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Served
    from pytest_django.fixtures import SettingsWrapper

ROOT = Path(__file__).parents[2]
GOOD = "tr0ubador & 3 words"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def command(
    app_database: Path,
    settings: SettingsWrapper,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[int, str]]:
    """Run the command in this process: `command("listusers")` returns its status and what it says."""
    settings.EXPLORER_USERS = False  # what the command sets is taken back with it

    def run(*arguments: object, typed: str = "", at_terminal: bool = False) -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", Terminal() if at_terminal else io.StringIO(typed))
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out + err

    return run


Command = Any


def roles_of(name: str) -> tuple[str, ...]:
    return person_of(User.objects.get(username=name)).roles


def test_a_user_is_made_with_a_role_and_given_another(command: Command) -> None:
    made = command("createuser", "ana", "--role", "support", "--password-stdin", typed=f"{GOOD}\n")
    assert made == (0, "ana can log in as support.\n")
    assert User.objects.get().check_password(GOOD)
    assert command("createuser", "ana", "--role", "admin") == (0, "ana can log in as admin.\n")
    assert (roles_of("ana"), User.objects.get().check_password(GOOD)) == (("admin",), True)
    assert command("createuser", "ana", "--password-stdin", typed="another 1 of them")[0] == 0
    assert (roles_of("ana"), User.objects.get().check_password("another 1 of them")) == (("admin",), True)


def test_the_password_is_asked_for_twice(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([GOOD, "something else", GOOD, GOOD])
    monkeypatch.setattr("explorer.people.command.getpass", lambda prompt: next(answers))
    status, said = command("createuser", "ana", at_terminal=True)
    assert (status, "not the same" in said, User.objects.count()) == (1, True, 0)
    assert command("createuser", "ana", at_terminal=True) == (0, "ana can log in as viewer.\n")


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("ana", "short", "too short"),
        ("ana", "password123", "too common"),
        ("ana", "1234567890123", "entirely numeric"),
        ("anastasia", "anastasia1", "too similar"),
        ("ana", "", "too short"),
        ("a b", GOOD, "cannot be a name"),
        ("a\nb", GOOD, "cannot be a name"),
        ("a" * 151, GOOD, "at most 150 characters"),
        ("BEN", GOOD, "There is a user ben already"),
    ],
)
def test_what_makes_no_user_is_said(name: str, typed: str, said: str, command: Command) -> None:
    command("createuser", "ben", "--password-stdin", typed=GOOD)
    status, told = command("createuser", name, "--password-stdin", typed=typed)
    assert (status, said in told) == (1, True), told
    assert User.objects.count() == 1


def test_without_a_terminal_nobody_is_asked(command: Command) -> None:
    status, said = command("createuser", "ana")
    assert (status, "--password-stdin" in said) == (1, True)


def test_users_are_listed_and_shut_out_and_let_in_again(command: Command) -> None:
    command("createuser", "ana", "--role", "support", "--password-stdin", typed=GOOD)
    assert command("listusers") == (0, "ana\tsupport\tnever logged in\n")
    assert command("removeuser", "ana") == (0, "ana cannot log in any more.\n")
    assert command("listusers")[1] == "ana\tshut out\tnever logged in\n"
    assert command("createuser", "ana") == (0, "ana can log in as support.\n")
    assert command("removeuser", "nobody")[0] == 1


def test_changes_of_users_are_noted_without_passwords(command: Command, app_database: Path) -> None:
    command("createuser", "ana", "--role", "support", "--password-stdin", typed=GOOD)
    command("removeuser", "ana")
    begun = AuditEntry.objects.filter(outcome="begun").order_by("id")
    assert [(row.action, row.roles) for row in begun] == [("user", "local")] * 2
    assert [row.details for row in begun] == [
        {"user": "ana", "role": "support", "password": "set"},
        {"user": "ana", "shut_out": True},
    ]
    assert GOOD.encode() not in app_database.read_bytes()


BEYOND = ("--host", "0.0.0.0")
NAMED = (*BEYOND, "--allowed-host", "explorer.example")


@pytest.mark.parametrize(
    ("options", "users", "said"),
    [
        (BEYOND, False, "0.0.0.0 is not a loopback address"),
        (("--users",), False, "There are no users, so nobody could log in."),
        (BEYOND, True, "Name the host that people type into their browsers"),
        (NAMED, True, "Passwords would go over the network as plain text."),
        ((*BEYOND, "--anonymous", "viewer"), False, "Name the host that people type"),
        (("--users", "--tls-cert", "x"), True, "TLS needs both"),
        (("--users", "--tls-cert", "x", "--tls-key", "y"), True, "cannot be used: No such file"),
        (("--users", "--tls-cert", __file__, "--tls-key", __file__), True, "cannot be used: no pair in PEM"),
        (("--mask", "admin:messages"), True, "'admin:messages' is no mask."),
        (("--mask", "support"), True, "'support' is no mask."),
    ],
)
def test_what_would_not_be_safe_is_not_served(
    options: tuple[str, ...], users: bool, said: str, command: Command, demo_store: Path
) -> None:
    if users:
        command("createuser", "ana", "--password-stdin", typed=GOOD)
    status, told = command(demo_store, *options, "--no-browser", "--port", "0")
    assert (status, said in told) == (1, True), told


@pytest.mark.parametrize("role", ["admin", "support"])
def test_only_viewers_come_without_a_login(role: str, command: Command, demo_store: Path) -> None:
    with pytest.raises(SystemExit):
        command(demo_store, "--anonymous", role)


def with_environment(**environment: str) -> tuple[str, ...]:
    return (
        "env",
        *(f"{name}={value}" for name, value in environment.items()),
        sys.executable,
        "-m",
        "explorer",
    )


@pytest.fixture
def users(tmp_path: Path) -> str:
    """A database of the app with the user ana, a viewer."""
    url = f"sqlite:///{tmp_path}/app.sqlite3"
    made = subprocess.run(
        [*with_environment(DATABASE_URL=url), "createuser", "ana", "--password-stdin"],
        cwd=ROOT,
        input=GOOD,
        text=True,
        check=True,
        capture_output=True,
    )
    assert made.stdout == "ana can log in as viewer.\n"
    return url


def test_a_server_with_users_admits_them_and_nobody_by_a_token(
    serve: Callable[..., Served], demo_store: Path, users: str
) -> None:
    run = serve(demo_store, "--users", command=with_environment(DATABASE_URL=users))
    assert "token" not in run.url
    assert run.get("/s/demo/threads/").headers["Location"] == "/login/?next=%2Fs%2Fdemo%2Fthreads%2F"
    page = run.get("/login/")
    assert (page.status, b"Log in" in page.body) == (200, True)


def test_visitors_are_served_beyond_loopback_under_the_names_that_are_given(
    serve: Callable[..., Served], demo_store: Path, tmp_path: Path
) -> None:
    command = with_environment(DATABASE_URL=f"sqlite:///{tmp_path}/app.sqlite3")
    run = serve(demo_store, *NAMED, "--anonymous", "viewer", command=command)
    assert run.url.startswith("http://explorer.example:")
    assert run.get("/s/demo/threads/", host="explorer.example").status == 200
    assert run.get("/s/demo/threads/", host="evil.example").status == 400
    assert run.get("/audit/", host="explorer.example").status == 403


WAYS = (
    "/%61udit/",
    "/audit/%2e/",
    "//audit/",
    "/./audit/",
    "/audit/?token=x",
    "/AUDIT/",
    "/audit",
    "/x/../audit/",
)


def test_no_way_of_writing_an_address_leads_past_the_login(
    serve: Callable[..., Served], demo_store: Path, users: str
) -> None:
    run = serve(demo_store, "--users", command=with_environment(DATABASE_URL=users))
    for target in WAYS:
        answer = run.get(target)
        assert (answer.status, answer.body) == (302, b""), target
        assert str(answer.headers["Location"]).startswith("/login/")


DEPLOYED = {"EXPLORER_USERS": "1", "EXPLORER_HOSTS": "explorer.example.com"}


def deploy_check(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_djangos_own_check_finds_nothing_in_a_server_with_users() -> None:
    clean = deploy_check(**DEPLOYED)
    assert (clean.returncode, "no issues" in clean.stdout) == (0, True), clean.stderr


def test_djangos_own_check_tells_of_plain_http() -> None:
    plain = deploy_check(**DEPLOYED, EXPLORER_INSECURE_HTTP="1")
    assert plain.returncode == 1
    assert "SESSION_COOKIE_SECURE" in plain.stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"EXPLORER_USERS": "1"}, "There are no users"),
        ({"EXPLORER_ANONYMOUS": "admin"}, "can only be a viewer"),
        ({"EXPLORER_ANONYMOUS": "viewer", "EXPLORER_MASKS": "x:y"}, "is no mask"),
    ],
)
def test_another_asgi_server_does_not_start_what_would_not_be_safe(
    environment: dict[str, str], said: str, demo_store: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/app.sqlite3"
    run = subprocess.run(
        [sys.executable, "-m", "uvicorn", "explorer.asgi:application", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "EXPLORER_STORES": str(demo_store), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, said in run.stderr) == (3, True), run.stderr
