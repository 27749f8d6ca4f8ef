"""The doctor on PostgreSQL: what it counts, what it finds wrong, and what it keeps to itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from graphs import official_saver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from checkpoints.doctor import diagnose
from checkpoints.errors import AccessRefused
from checkpoints.inert import InertSerializer
from checkpoints.stores import Location
from checkpoints.stores.postgres import checkup, listing
from explorer.command import main
from explorer.demo import store as demo

if TYPE_CHECKING:
    from checkpoints.diagnosis import Diagnosis

KEY = b"sixteen byte key"


@pytest.fixture
def store(database: str) -> str:
    """A store of the demo's agents."""
    with official_saver(database) as saver:
        demo.small_talk(saver)
        demo.oddities(saver)
    return database


def diagnosis(url: str) -> Diagnosis:
    return diagnose(Location.parse(url), InertSerializer())


def change(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement.encode())


def test_a_healthy_store_is_counted(store: str) -> None:
    found = diagnosis(store)
    with psycopg.connect(store) as conn:
        sql = "SELECT count(DISTINCT thread_id), count(DISTINCT (thread_id, checkpoint_ns)) FROM checkpoints"
        assert conn.execute(sql).fetchone() == (found.threads, found.namespaces)
        for table in found.tables:
            (rows,) = conn.execute(f"SELECT count(*) FROM {table.name}".encode()).fetchone() or (0,)
            assert table.rows == rows == sum(table.types.values()) > 0
        sizes = "SELECT sum(octet_length(blob)), max(octet_length(blob)) FROM checkpoint_writes"
        assert conn.execute(sizes).fetchone() == (found.tables[2].bytes, found.tables[2].largest)
    assert (found.ok, found.notes, found.standby, found.journal_mode) == (True, (), False, "")
    assert found.era.endswith("migration 9")
    assert found.bytes > 100_000


@pytest.mark.parametrize(("rows", "octets"), [(1, 10**9), (7, 10**9), (500, 1)])
def test_counts_do_not_depend_on_the_size_of_a_portion(
    store: str, monkeypatch: pytest.MonkeyPatch, rows: int, octets: int
) -> None:
    at_once = diagnosis(store)
    monkeypatch.setattr(checkup, "PORTION", rows)
    monkeypatch.setattr(checkup, "PORTION_BYTES", octets)
    monkeypatch.setattr(checkup, "THREADS", 1)
    assert diagnosis(store) == at_once


ONE = "WHERE ctid = (SELECT min(ctid) FROM {table})"


@pytest.mark.parametrize(
    ("table", "damage", "problem"),
    [
        ("checkpoint_blobs", "blob = '\\x81'", "checkpoint_blobs: it ends"),
        ("checkpoint_blobs", "blob = NULL, type = 'msgpack'", "checkpoint_blobs: the row is NULL"),
        ("checkpoint_writes", "type = 'odd'", "checkpoint_writes: no LangGraph release writes this type"),
        ("checkpoints", "metadata = '[1]'", "checkpoints: metadata: it is no JSON object"),
    ],
)
def test_a_rotten_row_is_a_problem(store: str, table: str, damage: str, problem: str) -> None:
    change(store, f"UPDATE {table} SET {damage} {ONE.format(table=table)}")
    found = diagnosis(store)
    assert len(found.problems) == 1
    assert found.problems[0].startswith("1 of ")
    assert problem in found.problems[0]


def test_encrypted_and_pickled_rows_are_told_and_not_opened(database: str) -> None:
    plain = JsonPlusSerializer(allowed_msgpack_modules=demo.OWN_TYPES)
    with PostgresSaver.from_conn_string(database) as saver:
        saver.serde = EncryptedSerializer.from_pycryptodome_aes(serde=plain, key=KEY)
        saver.setup()
        demo.small_talk(saver)
    pickled = "type = 'pickle', blob = '\\x80054e2e'"
    change(database, f"UPDATE checkpoint_writes SET {pickled} {ONE.format(table='checkpoint_writes')}")
    found = diagnosis(database)
    assert found.ok
    assert found.tables[1].closed == {"encrypted": found.tables[1].rows}
    assert found.tables[2].closed["pickled"] == 1
    opened = diagnose(Location.parse(database), InertSerializer(KEY))
    assert (opened.ok, opened.tables[1].closed, opened.tables[2].closed) == (True, {}, {"pickled": 1})


def test_values_that_belong_to_no_checkpoint_are_a_note(store: str) -> None:
    change(store, "INSERT INTO checkpoint_blobs VALUES ('gone', '', 'messages', '1', 'bytes', '\\x0102')")
    change(store, f"UPDATE checkpoint_blobs SET version = 'x' {ONE.format(table='checkpoint_blobs')}")
    found = diagnosis(store)
    assert found.ok
    assert "2 rows of checkpoint_blobs" in found.notes[0]


def test_a_table_that_wants_an_index_or_a_migration_is_told_how(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(store, "DELETE FROM checkpoint_migrations WHERE v = 9")
    change(store, "ANALYZE checkpoints")
    monkeypatch.setattr(listing, "LARGE", 1)
    found = diagnosis(store)
    assert "migration 8" in found.era
    assert "setup()" in found.notes[0]
    assert "CREATE INDEX CONCURRENTLY ON public.checkpoints" in found.notes[1]
    change(store, "DROP TABLE checkpoint_migrations")
    assert "unknown migration" in diagnosis(store).era


def test_a_server_that_takes_too_long_ends_the_look_at_one_table(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = checkup._BLOB.replace("type,", "type || pg_sleep(1)::text AS type,")
    monkeypatch.setattr(checkup, "_BLOB", slow)
    monkeypatch.setattr(checkup, "_PATIENT", "SET LOCAL statement_timeout = 50")
    found = diagnosis(store)
    assert (found.tables[0].rows > 0, found.tables[1].rows) == (True, 0)
    assert all("was read for more than" in problem for problem in found.problems)
    assert len(found.problems) == 2


def test_a_role_that_may_not_read_is_refused(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    change(store, "CREATE ROLE blind LOGIN PASSWORD 's3cr3t'")
    try:
        url = f"postgresql://blind:s3cr3t@{store.rpartition('@')[2]}"
        with pytest.raises(AccessRefused):
            diagnosis(url)
        assert main(["doctor", url]) == 1
        assert "s3cr3t" not in capsys.readouterr().err
    finally:
        change(store, "DROP ROLE blind")


def test_nothing_of_the_content_is_shown(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    change(store, f"UPDATE checkpoint_writes SET type = 'SECRET' {ONE.format(table='checkpoint_writes')}")
    with psycopg.connect(store) as conn:
        ids = [id for (id,) in conn.execute("SELECT DISTINCT thread_id FROM checkpoints")]
    for options in ([], ["--json"]):
        assert main(["doctor", store, *options]) == 1
        said = capsys.readouterr().out
        assert not [id for id in [*ids, "SECRET", "alice", "kettle"] if id in said]


def test_json_says_the_same_as_text(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", store, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["doctor", store]) == 0
    text = capsys.readouterr().out
    assert f"PostgreSQL {found['server']}, primary" in text
    assert all(f"{table['rows']:,} row" in text for table in found["tables"])
