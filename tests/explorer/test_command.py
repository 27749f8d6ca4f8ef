"""The command: what it opens, what it says, and how it ends."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.command import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Served
    from pytest_django.fixtures import SettingsWrapper

ROOT = Path(__file__).parents[2]


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str], settings: SettingsWrapper) -> Callable[..., str]:
    """Run the command on something that it refuses and return what it says."""
    settings.EXPLORER_USERS = False  # what the command sets is taken back with it

    def run(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("checkpoint-explorer: ")
        assert err.count("\n") == 1
        return err

    return run


def _database(path: Path, schema: str) -> Path:
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(schema)
    return path


def test_no_path_says_how(complaint: Callable[..., str]) -> None:
    assert "Name a store to open" in complaint()


def test_a_missing_file_is_refused_and_not_made(complaint: Callable[..., str], tmp_path: Path) -> None:
    assert "There is no file missing.sqlite" in complaint(tmp_path / "missing.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_refused(complaint: Callable[..., str], tmp_path: Path) -> None:
    assert "is a directory" in complaint(tmp_path)


def test_a_file_that_is_no_database_is_refused(complaint: Callable[..., str], tmp_path: Path) -> None:
    text = tmp_path / "notes.sqlite"
    text.write_text("not a database, " * 100)
    assert "is not a SQLite database" in complaint(text)


def test_a_database_without_checkpoints_is_refused(complaint: Callable[..., str], tmp_path: Path) -> None:
    other = _database(tmp_path / "other.sqlite", "CREATE TABLE songs (title TEXT)")
    assert "has no LangGraph tables" in complaint(other)


def test_tables_of_langgraph_before_0_2_are_named(complaint: Callable[..., str], tmp_path: Path) -> None:
    columns = "thread_id TEXT, thread_ts TEXT, parent_ts TEXT, checkpoint BLOB, metadata BLOB"
    old = _database(tmp_path / "old.sqlite", f"CREATE TABLE checkpoints ({columns})")
    assert "before 0.2" in complaint(old)


def test_a_url_is_refused(complaint: Callable[..., str]) -> None:
    assert "No store is opened by ftp://" in complaint("ftp://example.org/checkpoints.sqlite")


def test_one_bad_store_among_good_ones_is_named(
    complaint: Callable[..., str], demo_store: Path, tmp_path: Path
) -> None:
    assert "There is no file missing.sqlite" in complaint(demo_store, tmp_path / "missing.sqlite")


def test_every_bad_store_is_named(
    demo_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "first.sqlite"), str(demo_store), str(tmp_path)]) == 1
    missing, folder = capsys.readouterr().err.splitlines()
    assert "There is no file first.sqlite" in missing
    assert "is a directory" in folder


def test_a_port_in_use_is_named(complaint: Callable[..., str], demo_store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = complaint(demo_store, "--port", port)
    assert f"Port {port} of 127.0.0.1 is in use." in said
    assert "--port 0" in said


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org", "127.0.0.1.evil.example"])
def test_only_loopback_is_served(complaint: Callable[..., str], demo_store: Path, host: str) -> None:
    assert f"{host} is not a loopback address" in complaint(demo_store, "--host", host)


@pytest.mark.parametrize("arguments", [["--port", "99999"], ["--port", "http"], ["--unknown"]])
def test_wrong_options_are_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: checkpoint-explorer" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["http", "99999", "-1", "²", ""])
def test_a_wrong_port_says_what_a_port_is(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([f"--port={port}"])
    assert "a port is a number from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["doctor", "x", "postgresql://ana:secret@h/app"], ["--port=a://b:secret@c"]]
)
def test_a_usage_error_repeats_no_password(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "secret" not in capsys.readouterr().err


def test_help_says_nothing_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DATABASE_URL", "EXPLORER_TOKEN", "PGPASSWORD"):
        monkeypatch.setenv(name, "secret")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "secret" not in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_the_title_of_the_process_names_the_stores_and_no_argument(
    serve: Callable[..., Served], demo_store: Path
) -> None:
    run = serve(demo_store, "--token", "secret", command=(sys.executable, "-m", "explorer"))
    title = Path(f"/proc/{run.process.pid}/cmdline").read_text().strip("\0")
    assert title == "checkpoint-explorer: demo"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_the_arguments_are_hidden_before_the_command_is_imported() -> None:
    code = """if True:
        import sys
        from explorer.__main__ import main
        class Stop:
            def find_spec(self, name, *rest):
                if name == "explorer.command":
                    print(open("/proc/self/cmdline").read())
                    sys.exit()
        sys.meta_path.insert(0, Stop())
        main()
    """
    run = subprocess.run([sys.executable, "-c", code, "secret"], capture_output=True, text=True, check=True)
    assert run.stdout.strip("\0\n") == "checkpoint-explorer"


def test_the_printed_address_admits_a_browser(served: Served) -> None:
    assert served.get("/").status == 403
    assert served.get("/help/", **served.admitted()).status == 200


def test_the_token_can_be_chosen(serve: Callable[..., Served], demo_store: Path) -> None:
    assert serve(demo_store, "--token", "a b&c").url.endswith("/?token=a+b%26c")


def test_the_token_can_come_from_the_environment(serve: Callable[..., Served], demo_store: Path) -> None:
    command = ("env", "EXPLORER_TOKEN=long and random", sys.executable, "-m", "explorer")
    assert serve(demo_store, command=command).url.endswith("/?token=long+and+random")


def test_each_run_has_a_token_of_its_own(serve: Callable[..., Served], demo_store: Path) -> None:
    first, second = serve(demo_store), serve(demo_store)
    assert first.url.partition("token=")[2] != second.url.partition("token=")[2]
    assert second.get("/", **first.admitted()).status == 403


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly_and_logs_no_token(
    serve: Callable[..., Served], demo_store: Path, ending: signal.Signals
) -> None:
    run = serve(demo_store, "--token", "secret-of-this-run")
    for target in ("/?token=secret-of-this-run", "/nowhere/?token=wrong", "/?token=secret-of-this-run&x=1"):
        run.get(target)
    run.process.send_signal(ending)
    out, err = run.process.communicate(timeout=10)
    assert (run.process.returncode, err) == (0, "")
    assert "secret" not in out


def test_manage_py_fails_on_a_bad_store_as_the_command_does(tmp_path: Path) -> None:
    command = [sys.executable, "manage.py", "explore", tmp_path]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert "is a directory" in run.stderr


def test_the_command_and_manage_py_are_the_same(serve: Callable[..., Served], demo_store: Path) -> None:
    entry = "import sys; from explorer.command import main; sys.exit(main())"
    assert serve(demo_store, command=(sys.executable, "-c", entry)).get("/").status == 403


@pytest.mark.parametrize("flag", ["--read-only", None])
def test_read_only_is_what_the_flag_says(
    flag: str | None, serve: Callable[..., Served], demo_store: Path
) -> None:
    served = serve(demo_store, *filter(None, [flag]))
    admitted = served.admitted()
    timeline = served.get("/s/demo/threads/refund-1043/", **admitted).body.decode()
    page = served.get(timeline.partition('data-open="')[2].partition('"')[0], **admitted).body.decode()
    assert ("Edit…" in page, "Compare…" in page) == (flag is None, True)
