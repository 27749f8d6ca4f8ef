"""The doctor: what it says of a store, and what it keeps to itself."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from shutil import copy
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from checkpoints.doctor import diagnose
from checkpoints.errors import StoreBusy
from checkpoints.inert import InertSerializer
from checkpoints.stores import Location
from checkpoints.stores.sqlite import checkup
from explorer.command import main
from explorer.demo import store as demo

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.diagnosis import Diagnosis

KEY = b"sixteen byte key"


def _diagnosis(path: Path) -> Diagnosis:
    return diagnose(Location.parse(str(path)), InertSerializer())


@pytest.fixture
def store(demo_store: Path, tmp_path: Path) -> Path:
    """A copy of the demo store, to be damaged."""
    return copy(demo_store, tmp_path / "copy.sqlite")


def _change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as conn, conn:
        for statement in statements:
            conn.execute(statement)


def test_a_healthy_store_is_counted(demo_store: Path) -> None:
    found = _diagnosis(demo_store)
    with closing(sqlite3.connect(f"file:{demo_store}?immutable=1", uri=True)) as conn:
        (threads,) = conn.execute("SELECT count(DISTINCT thread_id) FROM checkpoints").fetchone()
        sql = "SELECT count(*), sum(length(checkpoint)), max(length(checkpoint)) FROM checkpoints"
        numbers = conn.execute(sql).fetchone()
    assert (found.ok, found.threads, found.journal_mode) == (True, threads, "wal")
    assert (found.tables[0].rows, found.tables[0].bytes, found.tables[0].largest) == numbers
    assert found.tables[0].types == {"msgpack": numbers[0]}


def test_subgraphs_are_counted_as_namespaces(demo_store: Path) -> None:
    found = _diagnosis(demo_store)
    assert found.namespaces == (found.threads or 0) + 3


def test_counts_do_not_depend_on_how_often_it_connects(
    demo_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = _diagnosis(demo_store)
    monkeypatch.setattr(checkup, "HOLD_SECONDS", 0.0)
    assert _diagnosis(demo_store) == at_once


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("checkpoints SET checkpoint = substr(checkpoint, 1, 40)", "checkpoints: it ends"),
        ("checkpoints SET checkpoint = NULL", "checkpoints: the row is NULL"),
        ("checkpoints SET metadata = '[1]'", "checkpoints: metadata: it is no JSON object"),
        ("writes SET type = 'msgpack', value = x'c7'", "writes: "),
    ],
)
def test_a_rotten_row_is_a_problem(store: Path, damage: str, problem: str) -> None:
    _change(store, f"UPDATE {damage} WHERE rowid = 5")
    found = _diagnosis(store)
    assert len(found.problems) == 1
    assert found.problems[0].startswith("1 of ")
    assert problem in found.problems[0]


def test_a_rotten_part_of_a_whole_row_is_a_problem(store: Path) -> None:
    unknown_extension = b"\x81\xa1a\xd4\x63\x00"  # {"a": Ext(99, b"\0")}
    with closing(sqlite3.connect(store)) as conn, conn:
        conn.execute("UPDATE writes SET value = ?, type = 'msgpack' WHERE rowid = 5", [unknown_extension])
    assert "extension code" in _diagnosis(store).problems[0]


def test_a_damaged_file_is_read_as_far_as_it_goes(store: Path) -> None:
    with closing(sqlite3.connect(store)) as conn:
        (page,) = conn.execute("PRAGMA page_size").fetchone()
    with store.open("r+b") as file:
        file.seek(30 * page)
        file.write(b"\xff" * 20 * page)
    found = _diagnosis(store)
    assert not found.ok
    assert any(problem.startswith("Not all of ") for problem in found.problems)


def test_encrypted_and_pickled_rows_are_told_and_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "closed.sqlite"
    plain = JsonPlusSerializer(allowed_msgpack_modules=demo.OWN_TYPES)
    with SqliteSaver.from_conn_string(str(path)) as saver:
        saver.serde = EncryptedSerializer.from_pycryptodome_aes(serde=plain, key=KEY)
        demo.small_talk(saver)
    _change(path, "UPDATE writes SET type = 'pickle', value = x'80054e2e' WHERE rowid = 5")
    found = _diagnosis(path)
    assert found.tables[0].closed == {"encrypted": found.tables[0].rows}
    assert found.tables[1].closed["pickled"] == 1
    opened = diagnose(Location.parse(str(path)), InertSerializer(KEY))
    assert (opened.ok, opened.tables[0].closed) == (True, {})


@pytest.mark.parametrize("hold", [0.0, 60.0])
def test_a_store_without_rowids_is_read_whole(
    store: Path, monkeypatch: pytest.MonkeyPatch, hold: float
) -> None:
    with closing(sqlite3.connect(store)) as conn:
        tables = conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    expected = _diagnosis(store)
    for name, sql in tables:
        _change(store, f"ALTER TABLE {name} RENAME TO plain", f"{sql} WITHOUT ROWID")
        _change(store, f"INSERT INTO {name} SELECT * FROM plain", "DROP TABLE plain")
    monkeypatch.setattr(checkup, "HOLD_SECONDS", hold)
    found = _diagnosis(store)
    assert (found.tables, found.problems) == (expected.tables, ())
    assert (found.threads, found.namespaces) == (expected.threads, expected.namespaces)


class Interrupting(InertSerializer):
    """Lets an agent write to the store while it is read, so many times."""

    def __init__(self, path: Path, times: int) -> None:
        super().__init__()
        self.path, self.times = path, times

    def loads_metadata(self, raw: bytes | str | None) -> Any:
        if self.times:
            self.times -= 1
            _change(self.path, "UPDATE checkpoints SET metadata = metadata || ' ' WHERE rowid = 1")
        return super().loads_metadata(raw)


def test_a_store_that_changes_meanwhile_is_read_again(store: Path) -> None:
    found = diagnose(Location.parse(str(store)), Interrupting(store, 1))
    assert found == _diagnosis(store)
    assert found.ok


def test_a_store_that_changes_all_the_time_is_busy_and_not_damaged(store: Path) -> None:
    with pytest.raises(StoreBusy, match="changed while it was read"):
        diagnose(Location.parse(str(store)), Interrupting(store, 1_000))


def test_the_columns_and_rows_tell_the_era(store: Path) -> None:
    assert "after 3.1.0" in _diagnosis(store).era
    _change(store, "ALTER TABLE writes DROP COLUMN task_path")
    assert "1.0 to 3.1.0" in _diagnosis(store).era
    _change(store, "UPDATE checkpoints SET type = 'json', checkpoint = CAST('{}' AS BLOB)")
    assert "1.0 (JSON rows)" in _diagnosis(store).era
    javascript = '{"ts": "2026-11-20T10:32:12.614Z"}'
    _change(store, f"UPDATE checkpoints SET checkpoint = CAST('{javascript}' AS BLOB)")
    assert _diagnosis(store).era == "LangGraph.js"


def test_nothing_of_the_content_is_shown(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _change(store, "UPDATE checkpoints SET type = 'SECRET' WHERE rowid = 7")
    for options in ([], ["--json"]):
        assert main(["doctor", str(store), *options]) == 1
        said = capsys.readouterr().out
        with closing(sqlite3.connect(store)) as conn:
            ids = [id for (id,) in conn.execute("SELECT DISTINCT thread_id FROM checkpoints")]
        assert not [id for id in [*ids, "SECRET", "alice", "kettle"] if id in said]


def test_json_says_the_same_as_text(demo_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(demo_store), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["doctor", str(demo_store)]) == 0
    text = capsys.readouterr().out
    assert found["ok"]
    assert "Every row can be read." in text
    assert all(f"{table['rows']:,} rows" in text for table in found["tables"])


def test_a_missing_file_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", str(tmp_path / "missing.sqlite")]) == 1
    assert "There is no file missing.sqlite" in capsys.readouterr().err


def test_looking_leaves_no_trace(store: Path) -> None:
    before = store.read_bytes(), store.stat().st_mtime_ns, sorted(store.parent.iterdir())
    _diagnosis(store)
    assert (store.read_bytes(), store.stat().st_mtime_ns, sorted(store.parent.iterdir())) == before


def test_it_reads_a_store_that_is_written_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "live.sqlite"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        demo.small_talk(saver)
        found = _diagnosis(path)
        demo.oddities(saver)  # the writer is not disturbed
    assert (found.ok, found.threads) == (True, 5)
    assert found.wal_bytes > 0
