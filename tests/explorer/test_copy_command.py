"""`checkpoint-explorer copy`: what it says, and how it ends."""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from graphs import ask_order, config, nested
from langgraph.checkpoint.sqlite import SqliteSaver

from explorer.command import main

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "explorer", "copy")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the threads "chat" and "nested"."""
    path = tmp_path_factory.mktemp("store") / "agent store.sqlite"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        ask_order(saver, "chat")
        nested(saver).invoke({"log": []}, config("nested"))
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    assert main(["copy", *map(str, arguments)]) == status
    out, err = capsys.readouterr()
    assert bool(out) != bool(err)
    return out or err


def threads(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as conn:
        return {thread_id for (thread_id,) in conn.execute("SELECT DISTINCT thread_id FROM checkpoints")}


def test_the_summary_names_both_stores_and_counts_rows_and_bytes(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, store, tmp_path / "new.sqlite", "--thread", "chat", "--as", "bug 7")
    lines = text.splitlines()
    assert lines[0] == f"Copied thread 'chat' from {store} to {tmp_path / 'new.sqlite'} as 'bug 7':"
    assert [line.split()[:3:2] for line in lines[1:]] == [["checkpoints", "rows,"], ["writes", "rows,"]]
    assert threads(tmp_path / "new.sqlite") == {"bug 7"}


def test_from_sqlite_to_postgresql_and_back(
    store: Path, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "checkpoint_blobs" in said(capsys, store, database, "--thread", "nested")
    assert "writes" in said(capsys, database, tmp_path / "new", "--thread", "nested")
    assert "There is a thread 'nested' already" in said(
        capsys, database, tmp_path / "new", "--thread", "nested", status=1
    )


def test_refusals_are_one_line_without_a_password(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql://ana:secret@127.0.0.1:1/agents"
    for arguments in ((store, url), (url, tmp_path / "new")):
        text = said(capsys, *arguments, "--thread", "chat", status=1)
        assert text == (
            "checkpoint-explorer: No server answers for agents. "
            "Check the host and the port, and that the server runs.\n"
        )


def test_a_missing_thread_and_a_missing_source_are_named(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    assert "no thread 'x\\n' to copy" in said(capsys, store, new, "--thread", "x\n", status=1)
    assert "no file old" in said(capsys, tmp_path / "old", new, "--thread", "chat", status=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["a"], ["a", "b"], ["a", "b", "--as", "c"]])
def test_a_call_without_a_thread_shows_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["copy", *arguments])
    assert "usage: checkpoint-explorer copy" in capsys.readouterr().err


def test_manage_py_copies_too(store: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "manage.py",
        "copy",
        str(store),
        str(tmp_path / "new"),
        "--thread",
        "chat",
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert threads(tmp_path / "new") == {"chat"}
    assert subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 1


def test_a_terminal_sees_how_far_it_is_and_a_pipe_does_not(store: Path, tmp_path: Path) -> None:
    arguments = [*COMMAND, str(store), str(tmp_path / "new"), "--thread", "chat"]
    piped = subprocess.run([*arguments, "--as", "a"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert piped.stderr == ""
    shown = b""
    terminal, theirs = pty.openpty()
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        while b"\r\x1b[K" not in shown:
            shown += os.read(terminal, 1000)
        process.communicate()
    os.close(terminal)
    assert shown.startswith(b"\rReading 0 of ")
    assert process.returncode == 0


def test_ctrl_c_stops_it_and_leaves_nothing(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(store.read_bytes())
    with closing(sqlite3.connect(target)) as conn:
        conn.execute("DELETE FROM checkpoints WHERE thread_id = 'chat'")
        conn.execute("DELETE FROM writes WHERE thread_id = 'chat'")
        conn.commit()
        conn.execute("BEGIN IMMEDIATE")  # the copy waits for this
        arguments = [*COMMAND, str(store), str(target), "--thread", "chat"]
        with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(2)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, "Stopped: nothing was copied.\n")
    assert "chat" not in threads(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target"]
