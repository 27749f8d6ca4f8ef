"""`checkpoint-explorer export` and `import`: what they say, and how they end."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from graphs import ask_order, config, nested
from langgraph.checkpoint.sqlite import SqliteSaver

from explorer.command import main
from explorer.models import AuditEntry

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A file with the threads "chat" and "nested"."""
    path = tmp_path / "agent store.sqlite"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        ask_order(saver, "chat")
        nested(saver).invoke({"log": []}, config("nested"))
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    assert main([*map(str, arguments)]) == status
    return "".join(capsys.readouterr())


def threads(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as conn:
        return {thread_id for (thread_id,) in conn.execute("SELECT DISTINCT thread_id FROM checkpoints")}


def test_an_export_is_told_with_rows_bytes_and_the_digest_of_the_file(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    lines = said(capsys, "export", store, "--thread", "chat", "--to", kept).splitlines()
    assert lines[0] == f"Exported 1 thread of {store} into {kept}:"
    assert [line.split()[:3:2] for line in lines[1:3]] == [["checkpoints", "rows,"], ["writes", "rows,"]]
    assert lines[3].endswith(hashlib.sha256(kept.read_bytes()).hexdigest())
    assert threads(kept) == {"chat"}


def test_an_import_says_what_it_has_before_it_and_what_came_of_it(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "export", store, "--all", "--to", tmp_path / "kept")
    lines = said(capsys, "import", tmp_path / "kept", tmp_path / "new").splitlines()
    assert lines[0].startswith(f"{tmp_path / 'kept'} has 2 threads of agent store.sqlite, exported at 20")
    assert lines[1] == f"Imported 2 threads into {tmp_path / 'new'}:"
    assert threads(tmp_path / "new") == {"chat", "nested"}


def test_threads_that_are_there_are_named_and_make_the_status_1(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "export", store, "--all", "--to", tmp_path / "kept")
    said(capsys, "import", tmp_path / "kept", tmp_path / "new", "--thread", "chat")
    text = said(capsys, "import", tmp_path / "kept", tmp_path / "new", status=1)
    assert "Imported 1 thread into" in text
    assert "1 thread was not imported:\n  There is a thread 'chat' already.\n" in text


def test_ids_come_from_a_file_or_the_standard_input(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ids").write_text("nested\r\n\nchat\n")
    assert "2 threads" in said(
        capsys, "export", store, "--threads-from", tmp_path / "ids", "--to", tmp_path / "a"
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO("chat\n"))
    assert "1 thread" in said(capsys, "export", store, "--threads-from", "-", "--to", tmp_path / "b")


def test_a_list_that_names_nothing_is_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids").write_text("\n\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    told = {}
    for name in ("ids", "bytes", "missing"):
        arguments = ("export", store, "--threads-from", tmp_path / name, "--to", tmp_path / "kept")
        told[name] = said(capsys, *arguments, status=1)
    assert "names no thread" in told["ids"]
    assert "is no text" in told["bytes"]
    assert "cannot be read" in told["missing"]
    assert not (tmp_path / "kept").exists()


def test_refusals_are_one_line_without_a_password(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql://ana:secret@127.0.0.1:1/agents"
    said(capsys, "export", store, "--all", "--to", tmp_path / "kept")
    for arguments in (
        ("export", url, "--all", "--to", tmp_path / "other"),
        ("import", tmp_path / "kept", url),
    ):
        text = said(capsys, *arguments, status=1)
        assert text.endswith(
            "checkpoint-explorer: No server answers for agents. "
            "Check the host and the port, and that the server runs.\n"
        )
        assert "secret" not in text
    text = said(capsys, "export", store, "--all", "--to", tmp_path / "kept", status=1)
    assert text == (
        "checkpoint-explorer: There is a file kept already. Name another file, or delete that one first.\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["export"],
        ["export", "a", "--to", "b"],
        ["export", "a", "--all"],
        ["export", "a", "--all", "--thread", "t", "--to", "b"],
        ["import", "a"],
    ],
)
def test_a_call_that_says_too_little_or_too_much_shows_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert f"usage: checkpoint-explorer {arguments[0]}" in capsys.readouterr().err


def test_manage_py_exports_and_imports_too(store: Path, tmp_path: Path) -> None:
    for command in (
        ["export", str(store), "--all", "--to", str(tmp_path / "kept")],
        ["import", str(tmp_path / "kept"), str(tmp_path / "new")],
    ):
        whole = [sys.executable, "manage.py", *command]
        subprocess.run(whole, cwd=ROOT, check=True, capture_output=True)
        assert subprocess.run(whole, cwd=ROOT, check=False, capture_output=True).returncode == 1
    assert threads(tmp_path / "new") == {"chat", "nested"}


def test_a_pipe_sees_no_progress(store: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "explorer",
        "export",
        str(store),
        "--all",
        "--to",
        str(tmp_path / "kept"),
    ]
    piped = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert piped.stderr == ""
    assert "\r" not in piped.stdout


def test_both_are_noted_in_the_audit(store: Path, tmp_path: Path, app_database: Path) -> None:
    main(["export", str(store), "--all", "--to", str(tmp_path / "kept")])
    main(["import", str(tmp_path / "kept"), str(tmp_path / "new")])
    rows = AuditEntry.objects.order_by("id").values_list("action", "outcome")
    assert list(rows) == [
        ("export", "begun"),
        ("export", "done"),
        ("import", "begun"),
        ("import", "done"),
    ]


def test_without_the_audit_nothing_is_exported(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.installation.adopt", lambda **_: False)
    text = said(capsys, "export", store, "--all", "--to", tmp_path / "kept", status=1)
    assert "Nothing was done" in text
    assert not (tmp_path / "kept").exists()
