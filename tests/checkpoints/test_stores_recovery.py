"""Copies of files whose writer died: made once, made again when lost, never left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
from stores_data import agent, ask, browse, ids, write

from checkpoints import errors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A store whose log nobody cares for any more."""
    path = write(tmp_path / "agent.sqlite", ["a"])
    with agent(path, dies=True) as running:
        running.call("only in the log")
    return path


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that copies are made in."""
    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def test_one_copy_serves_again(crashed: Path, copies: Path) -> None:
    await ids(crashed)
    [made] = os.listdir(copies)
    await ids(crashed)
    assert os.listdir(copies) == [made]


async def test_a_copy_that_was_tidied_away_is_made_again(crashed: Path, copies: Path) -> None:
    await ids(crashed)
    shutil.rmtree(copies / os.listdir(copies)[0])
    assert "only in the log" in await ids(crashed)


async def test_a_copy_that_sqlite_refuses_is_removed(crashed: Path, copies: Path) -> None:
    with crashed.open("r+b") as file:
        file.seek(44)  # the schema format number
        file.write(b"\xff" * 4)
    crashed.with_name("agent.sqlite-wal").write_bytes(b"no log")
    with pytest.raises(errors.StoreError):
        await ask(crashed, browse)
    assert os.listdir(copies) == []


def test_copies_go_when_the_process_ends(crashed: Path, copies: Path) -> None:
    program = f"import asyncio, stores_data; asyncio.run(stores_data.ids({str(crashed)!r}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(copies)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert os.listdir(copies) == []
