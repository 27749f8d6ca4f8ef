"""The wheel, installed in an empty environment and run from another directory."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path
from shutil import copy
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Served

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment with nothing but the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "empty", with_pip=False)
    commands = folder / "empty" / ("Scripts" if sys.platform == "win32" else "bin")
    subprocess.run([*pip, "--python", commands / "python", "install", wheel], check=True)
    return commands


def test_the_wheel_serves_pages_and_files(
    installed: Path, serve: Callable[..., Served], demo_store: Path, tmp_path: Path
) -> None:
    store = copy(demo_store, tmp_path / "mine.sqlite")
    run = serve("mine.sqlite", command=(str(installed / "checkpoint-explorer"),), cwd=tmp_path)
    admitted = run.admitted()
    page = run.get("/s/mine/threads/", **admitted)
    assert page.status == 200
    assert "refund-1043" in page.body.decode()
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.body.decode())
    assert {Path(file).suffix for file in files} >= {".css", ".js"}
    assert [run.get(file).status for file in files] == [200] * len(files)
    assert (store.read_bytes(), list(tmp_path.iterdir())) == (demo_store.read_bytes(), [store])


def test_the_wheel_needs_no_langgraph(installed: Path, demo_store: Path) -> None:
    code = (
        "from importlib.metadata import distributions as all; print(*sorted(d.name.lower() for d in all()))"
    )
    listed = subprocess.run([installed / "python", "-c", code], check=True, capture_output=True, text=True)
    names = set(listed.stdout.split())
    assert {"langgraph-checkpoint-explorer", "langgraph-checkpoint", "django"} <= names
    assert (
        not {"langgraph", "langgraph-checkpoint-sqlite", "langgraph-prebuilt", "playwright", "pytest"} & names
    )
    doctor = subprocess.run(
        [installed / "checkpoint-explorer", "doctor", demo_store], check=True, capture_output=True, text=True
    )
    assert "Every row can be read." in doctor.stdout


def test_the_wheel_brings_its_migrations(
    installed: Path, serve: Callable[..., Served], demo_store: Path, tmp_path: Path
) -> None:
    command = (
        "env",
        f"DATABASE_URL=sqlite:///{tmp_path}/app.sqlite3",
        str(installed / "checkpoint-explorer"),
    )
    first, second = (serve(demo_store, command=command, cwd=tmp_path) for _ in range(2))
    assert second.get("/help/", **first.admitted()).status == 200


@pytest.mark.parametrize("argument", ["postgresql://h/agents", "DATABASE_URL=postgresql://h/app"])
def test_postgresql_says_what_it_needs(installed: Path, demo_store: Path, argument: str) -> None:
    name, _, url = argument.rpartition("=")
    command = ["env", f"{name or 'UNUSED'}={url}", installed / "checkpoint-explorer", demo_store]
    run = subprocess.run(
        command if name else [*command, url], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 1
    assert "langgraph-checkpoint-explorer[postgres]" in run.stderr


def test_the_demo_says_what_it_needs(installed: Path, tmp_path: Path) -> None:
    command = [installed / "python", "-m", "django", "demo", tmp_path / "demo.sqlite"]
    environment = {"DJANGO_SETTINGS_MODULE": "explorer.settings"}
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "pip install 'langgraph-checkpoint-explorer[demo]'" in run.stderr
