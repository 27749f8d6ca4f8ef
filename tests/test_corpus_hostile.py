"""Damaged and malicious databases: opened or refused by name, and nothing in them ever runs."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from corpus_shown import ShownCheckpoint, shown

from checkpoints.errors import NoCheckpointTables, NotADatabase, StoreDamaged, StoreError
from checkpoints.stores import Location, read

if TYPE_CHECKING:
    from collections.abc import Iterator

if "CHECKPOINT_CORPUS" not in os.environ:
    pytest.skip("CHECKPOINT_CORPUS names no folder of reference databases", allow_module_level=True)

HOSTILE = Path(os.environ["CHECKPOINT_CORPUS"]) / "hostile"
MANIFEST = json.loads((HOSTILE / "manifest.json").read_text())
OFFICIAL = json.loads((HOSTILE / "hostile.expected.json").read_text())
MARKER = Path(MANIFEST["marker"])
REFUSED: dict[str, type[StoreError]] = {
    "zero-byte.sqlite": NotADatabase,
    "not-a-database.sqlite": NotADatabase,
    "other-tables.sqlite": NoCheckpointTables,
    "truncated-half.sqlite": StoreDamaged,
}
READABLE = sorted(MANIFEST["files"].keys() - REFUSED)
WALKER = Path(__file__).with_name("corpus_walk.py")
ROOT = Path(__file__).parents[1]

CONTROL = """
import json, sqlite3, sys
from langgraph.checkpoint.sqlite import SqliteSaver
from corpus_walk import Ear
saver = SqliteSaver(sqlite3.connect(sys.argv[1]))
ear = Ear()
sys.addaudithook(ear)
ear.listen(sys.argv[1])
list(saver.list(None))
ear.path = ""
print(json.dumps([event for event, _ in ear.unexpected]))
"""

Key = tuple[str, str, str]
Report = dict[str, dict[str, Any]]


def python(*arguments: object, temporary: Path) -> Any:
    """Run a script with the tests on its path and return the JSON that it prints."""
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    command = [sys.executable, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the hostile files that could be written to, the largest unpacked."""
    folder = tmp_path_factory.mktemp("corpus") / "hostile"
    shutil.copytree(HOSTILE, folder)
    folder.chmod(0o755)
    for packed in folder.glob("*.xz"):
        with lzma.open(packed) as source, packed.with_suffix("").open("wb") as target:
            shutil.copyfileobj(source, target)
    return folder


@pytest.fixture(scope="module")
def report(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """What happened on a walk through all of them, in a process of its own under an audit hook."""
    temporary = tmp_path_factory.mktemp("temporary")
    MARKER.unlink(missing_ok=True)
    before = listing(folder)
    yield python(WALKER, folder / "base.sqlite", *sorted(folder.glob("*.sqlite")), temporary=temporary)
    assert listing(folder) == before, "browsing has changed a file or left one behind"
    assert listing(temporary) == {}, "a copy was left behind"


def listing(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def stored(path: Path) -> set[Key]:
    """Return the keys of all checkpoint rows of a store, without decoding any."""
    with closing(sqlite3.connect(path)) as conn:
        return set(conn.execute("SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints"))


def seen(path: Path) -> dict[Key, ShownCheckpoint]:
    return {
        (thread, ns, at.checkpoint_id): at
        for thread, shown_thread in shown(path).items()
        for ns, checkpoints in shown_thread.namespaces.items()
        for at in checkpoints
    }


def test_every_page_of_every_store_answers(report: Report) -> None:
    assert report.keys() >= MANIFEST["files"].keys() | {"value-50mb.sqlite"}
    for name, walked in report.items():
        statuses = set(walked["answers"].values())
        assert statuses == ({302, 422} if name in REFUSED else {302, 200}), name
        assert len(walked["answers"]) > 40 or name in REFUSED, name


def test_walking_imports_runs_and_writes_nothing(report: Report) -> None:
    assert {name: walked["unexpected"] for name, walked in report.items() if walked["unexpected"]} == {}
    assert not MARKER.exists()


@pytest.mark.parametrize("name", ["msgpack-posix-system.sqlite", "msgpack-popen.sqlite"])
def test_the_official_saver_runs_them_and_the_hook_hears_it(name: str, folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / name, tmp_path)
    try:
        heard = python("-c", CONTROL, tmp_path / name, temporary=tmp_path)
        assert {"os.system", "subprocess.Popen"} & set(heard)
        assert appears(MARKER)
    finally:
        MARKER.unlink(missing_ok=True)


def appears(path: Path) -> bool:
    """Wait for a file that another process makes."""
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return path.exists()


@pytest.mark.parametrize(("name", "error"), REFUSED.items())
async def test_what_is_no_store_is_refused_by_name(name: str, error: type[StoreError], folder: Path) -> None:
    with pytest.raises(error):
        await read(Location.parse(str(folder / name)), lambda opened: opened.overview())


@pytest.mark.parametrize("name", REFUSED)
def test_the_page_of_a_refused_store_says_what_to_do(name: str, report: Report) -> None:
    refusal = report[name]["refusal"]
    assert f"<h1>{name} " in refusal
    assert REFUSED[name].advice.replace("'", "&#x27;") in refusal


def rotten(name: str) -> set[Key]:
    # The official saver returns metadata that is an array as it is; that row lies where this one lies.
    alike = {"metadata-array.sqlite": "metadata-not-json.sqlite"}.get(name, name)
    return {(thread, ns, id) for thread, ns, id, _ in OFFICIAL[alike]["official_default"]["bad_rows"]}


@pytest.mark.parametrize("name", READABLE)
def test_all_rows_are_shown_and_the_rotten_ones_are_marked(name: str, tmp_path: Path) -> None:
    for path in HOSTILE.glob(f"{name}*"):
        shutil.copy(path, tmp_path)
    found = seen(tmp_path / name)
    assert found.keys() == stored(tmp_path / name)
    assert {key for key, at in found.items() if at.problem or at.related.rotten} == rotten(name)
    assert all(at.related.rotten for at in found.values() if at.problem)


@pytest.mark.parametrize(("name", "mark"), [("cycle", "parent is not older"), ("missing", "parent missing")])
def test_a_broken_chain_of_parents_is_marked(name: str, mark: str, tmp_path: Path) -> None:
    shutil.copy(HOSTILE / f"parent-{name}.sqlite", tmp_path)
    marks = [mark for at in seen(tmp_path / f"parent-{name}.sqlite").values() for mark in at.marks]
    assert marks.count(mark) == 1


def test_what_only_a_dead_writers_log_holds_is_shown(tmp_path: Path) -> None:
    for path in HOSTILE.glob("wal-pending.sqlite*"):
        shutil.copy(path, tmp_path)
    assert "dev-wal-only" in {thread for thread, _, _ in seen(tmp_path / "wal-pending.sqlite")}


def test_a_value_of_fifty_megabytes_is_in_no_page(report: Report) -> None:
    assert 100_000 < report["value-50mb.sqlite"]["largest"] < 500_000
    assert any("/value/" in url for url in report["value-50mb.sqlite"]["answers"])
