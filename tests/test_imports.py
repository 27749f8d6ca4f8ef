"""Imports go one way: explorer, checkpoints, langgraph.checkpoint.base."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
ALLOWED = ("langgraph.checkpoint.base", "langgraph.checkpoint.serde", "langchain_core.runnables")
LIBRARY = sorted((ROOT / "checkpoints").rglob("*.py"))
RUNS = {
    "explorer/graphs/loading.py",
    *(str(path.relative_to(ROOT)) for path in (ROOT / "explorer/running").glob("*.py")),
}
WEB = [
    path
    for path in sorted((ROOT / "explorer").rglob("*.py"))
    if "demo" not in path.parts and str(path.relative_to(ROOT)) not in RUNS
]
SERVED = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "explorer.settings"
import explorer.asgi, explorer.urls, explorer.replays.worker
graphs = ("langgraph.pregel", "langgraph.graph", "explorer.running.run")
print(*(name for name in sys.modules if name.startswith(graphs)))
"""


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module)):
                yield module


def _under(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_knows_nothing_of_the_web(path: Path) -> None:
    assert not [module for module in _imported(path) if _under(module, "django", "explorer", "uvicorn")]


@pytest.mark.parametrize("path", [*LIBRARY, *WEB], ids=lambda path: str(path.relative_to(ROOT)))
def test_neither_part_needs_langgraph_itself(path: Path) -> None:
    langgraph = [module for module in _imported(path) if _under(module, "langgraph", "langchain_core")]
    assert not [module for module in langgraph if not _under(module, *ALLOWED)]


def test_what_serves_pages_and_queues_replays_can_run_no_graph() -> None:
    told = subprocess.run(
        [sys.executable, "-c", SERVED], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert told.stdout.strip() == ""


@pytest.mark.parametrize("path", sorted(RUNS))
def test_what_runs_a_graph_knows_nothing_of_the_web(path: str) -> None:
    imported = list(_imported(ROOT / path))
    assert not [
        module for module in imported if _under(module, "django", "explorer.models", "explorer.settings")
    ]


READ = {"read", "read_since"}
# Pages say for whom they ask; copying and the doctor are commands of whoever runs them.
ASKING = {"explorer/reading.py", "explorer/recall.py"}


def _reads_a_store(path: Path) -> bool:
    """Tell whether a module asks a store without saying for whom."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("checkpoints.stores"):
                if READ & {name.name for name in names}:
                    return True
            case ast.Attribute(value=ast.Name(id="stores"), attr=attribute) if attribute in READ:
                return True
            case _:
                pass
    return False


@pytest.mark.parametrize("path", WEB, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_asks_a_store_without_saying_for_whom(path: Path) -> None:
    assert _reads_a_store(path) == (str(path.relative_to(ROOT)) in ASKING)
