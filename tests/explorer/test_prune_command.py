"""`checkpoint-explorer prune`: told first, done with --yes, noted, and safe to be run again."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from graphs import config, joining, official_saver

from checkpoints.saver.ids import TICKS, ticks_of
from explorer.command import main
from explorer.models import AuditEntry, Deletion, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import Databases

ROOT = Path(__file__).parents[2]


def is_url(place: str) -> bool:
    return place.startswith("postgresql://")


def execute(place: str, sql: str, *parameters: Any) -> list[Any]:
    if is_url(place):
        with psycopg.connect(place, autocommit=True) as conn:
            cursor = conn.execute(sql.replace("?", "%s").encode(), parameters)
            return cursor.fetchall() if cursor.description else []
    with closing(sqlite3.connect(place)) as conn, conn:
        return conn.execute(sql, parameters).fetchall()


def tables(place: str) -> tuple[str, ...]:
    return (
        ("checkpoints", "checkpoint_writes", "checkpoint_blobs")
        if is_url(place)
        else ("checkpoints", "writes")
    )


def age(place: str, thread_id: str, days: float) -> None:
    """Let a thread be so old: the ids of its checkpoints hold their times."""
    ids = execute(place, "SELECT checkpoint_id FROM checkpoints WHERE thread_id = ?", thread_id)
    for (id,) in ids:
        older = _older(id, days)
        for table in tables(place)[:2]:
            change = f"UPDATE {table} SET checkpoint_id = ? WHERE thread_id = ? AND checkpoint_id = ?"
            execute(place, change, older, thread_id, id)
        parent = (
            "UPDATE checkpoints SET parent_checkpoint_id = ? WHERE thread_id = ? AND parent_checkpoint_id = ?"
        )
        execute(place, parent, older, thread_id, id)


def _older(id: str, days: float) -> str:
    ticks = (ticks_of(id) or 0) - int(days * 86_400 * TICKS)
    rest = UUID(id).int & ((1 << 64) - 1)
    return str(UUID(int=(ticks >> 12) << 80 | 6 << 76 | (ticks & 0xFFF) << 64 | rest))


@pytest.fixture(params=["sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Databases, app_database: Path
) -> Iterator[str]:
    """A store with threads of several ages, each of ten checkpoints."""
    with postgres.database() as url:
        place = url if request.param == "postgres" else str(tmp_path / "agents.sqlite")
        with official_saver(place) as saver:
            for name, user in (("old", "ana"), ("older", "bob"), ("recent", "ana"), ("busy", "bob")):
                for _ in range(2):
                    joining(saver).invoke({"log": ["x"]}, config(name, user_id=user))
        for name, days in (("old", 40), ("older", 100), ("recent", 1)):
            age(place, name, days)
        yield place


def threads(place: str) -> dict[str, int]:
    return dict(execute(place, "SELECT thread_id, count(*) FROM checkpoints GROUP BY thread_id"))


def said(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    assert main(["prune", *map(str, arguments)]) == status
    return "".join(capsys.readouterr())


def audited(action: str) -> list[tuple[str, Any]]:
    return list(AuditEntry.objects.filter(action=action).order_by("id").values_list("outcome", "details"))


def test_without_yes_it_is_told_and_nothing_is_done(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {table: execute(store, f"SELECT count(*) FROM {table}") for table in tables(store)}
    for more in ((), ("--dry-run",)):
        text = said(capsys, store, "--keep-latest", "--idle-days", 30, *more)
        assert "would delete 2 idle threads (" in text
        assert "would keep only the newest checkpoints of 1 thread (" in text
        assert "  older: " in text
    assert {table: execute(store, f"SELECT count(*) FROM {table}") for table in tables(store)} == before
    assert not AuditEntry.objects.exists()


def test_idle_threads_are_deleted_with_a_receipt(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, store, "--idle-days", 30, "--yes")
    assert "deleted 2 idle threads (" in text
    assert set(threads(store)) == {"recent", "busy"}
    deletion = Deletion.objects.get()
    assert (deletion.stage, deletion.threads) == (Stage.DELETED, 2)
    assert deletion.found_by == ["no checkpoint in the last 30 days"]
    assert [outcome for outcome, _ in audited("delete")] == ["begun", "done"]


def test_of_the_others_the_newest_checkpoints_are_kept(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = threads(store)["busy"]
    text = said(capsys, store, "--keep-latest", "--yes")
    assert "kept only the newest checkpoints of 3 threads (" in text
    assert threads(store) == {"old": 1, "older": 1, "recent": 1, "busy": before}
    (begun, told), (done, came) = audited("prune")
    assert (begun, done, told["threads"], came["threads"]) == ("begun", "done", 3, 3)
    assert told["rows"] == came["rows"]


def test_what_is_said_is_what_then_goes(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    rules = ("--keep-latest", "--idle-days", 30, "--json")
    would, did = [json.loads(said(capsys, store, *rules, *more)) for more in ((), ("--yes",))]
    assert (would["dry_run"], did["dry_run"]) == (True, False)
    for part in ("deleted", "pruned"):
        names = ("threads", "rows", "bytes")
        assert {name: did[part][name] for name in names} == {name: would[part][name] for name in names}
    assert sorted(would["idle_threads"]) == ["old", "older"]
    assert "nothing is to go" in said(capsys, store, "--keep-latest", "--idle-days", 30)


def test_rules_can_be_for_some_threads_only(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, store, "--idle-days", 30, "--where", "user_id=ana", "--yes")
    assert set(threads(store)) == {"older", "recent", "busy"}
    said(capsys, store, "--keep-latest", "--prefix", "rec", "--yes")
    assert threads(store)["recent"] == 1
    assert threads(store)["older"] > 1


def test_a_thread_that_is_written_meanwhile_is_left(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from explorer.retention import enforcing

    enforce = enforcing.enforce

    def write_first(*arguments: Any) -> Any:
        with official_saver(store) as saver:
            joining(saver).invoke({"log": ["more"]}, config("old", user_id="ana"))
            joining(saver).invoke({"log": ["more"]}, config("recent", user_id="ana"))
        return enforce(*arguments)

    monkeypatch.setattr(enforcing, "enforce", write_first)
    text = said(capsys, store, "--keep-latest", "--idle-days", 30, "--yes")
    assert "left 2 threads that an agent has written to meanwhile" in text
    assert set(threads(store)) == {"old", "recent", "busy"}
    assert threads(store)["recent"] > 10


def test_without_the_audit_nothing_is_deleted(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threads(store)
    monkeypatch.setattr("explorer.installation.adopt", lambda **_: False)
    text = said(capsys, store, "--keep-latest", "--idle-days", 30, "--yes", status=1)
    assert "Nothing was done" in text
    assert threads(store) == before


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, app_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "folder" / "agents.sqlite"
    path.parent.mkdir()
    with official_saver(path) as saver:
        joining(saver).invoke({"log": []}, config("old"))
    age(str(path), "old", 40)
    with closing(sqlite3.connect(path, isolation_level=None)) as agent:
        agent.execute("BEGIN IMMEDIATE")
        text = said(capsys, path, "--keep-latest", "--yes", status=1)
    assert "kept locked by another writer" in text
    assert [outcome for outcome, _ in audited("prune")] == ["begun", "refused"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--idle-days", "0"],
        ["--idle-days", "many"],
        ["--keep-latest", "--where", "user_id"],
        ["--keep-latest", "--yes", "--dry-run"],
    ],
)
def test_rules_that_mean_nothing_show_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["prune", "store", *arguments])
    assert ended.value.code == 2
    assert "usage: checkpoint-explorer prune" in capsys.readouterr().err


def test_a_call_without_a_rule_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--keep-latest, --idle-days N, or both" in said(capsys, "store", status=1)


def test_a_killed_deletion_is_finished_by_the_next_run(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from explorer.deletions import carrying

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(carrying.Carrier, "_forget_replays", die)
        with pytest.raises(Killed):
            main(["prune", store, "--idle-days", "30", "--yes"])
    assert Deletion.objects.get().stage == Stage.DELETING
    Deletion.objects.update(lease_until=None)
    said(capsys, store, "--idle-days", 30, "--yes")
    assert {each.stage for each in Deletion.objects.all()} == {Stage.DELETED}
    assert set(threads(store)) == {"recent", "busy"}


def test_manage_py_prunes_too(store: str) -> None:
    command = [sys.executable, "manage.py", "prune", store, "--keep-latest", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["pruned"]["threads"] == 3
